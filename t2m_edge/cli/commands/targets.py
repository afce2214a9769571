"""t2m-edge targets: what compile can write."""

from __future__ import annotations

from t2m_edge.cli.options import Debug, Json, new_app
from t2m_edge.cli.output import print_json, say, say_table

app = new_app()


@app.command()
def targets(json: Json = False, debug: Debug = False) -> None:
    """Shows what compile can write: kinds of file (--target) and number formats (--precision).

    \b
    t2m-edge targets
    """
    from t2m_edge.compiler.cells import PRECISIONS, TARGETS, why_not
    from t2m_runtime.engines import available_engines

    engines = available_engines()
    readers = {"tflite": ("litert", "tflite_runtime"), "onnx": ("onnxruntime",), "head": tuple(engines)}
    working = {target: [name for name in readers[target] if engines[name].version] for target in TARGETS}
    refused = {(t, p): why_not(t, p) for t in TARGETS for p in PRECISIONS}
    if json:
        cells = [
            {"target": t, "precision": p, "written": reason is None, "reason": reason, "engines": working[t]}
            for (t, p), reason in refused.items()
        ]
        print_json("targets", {"targets": cells})
        return
    rows = [
        [t, *("no" if refused[t, p] else "yes" for p in PRECISIONS), ", ".join(working[t]) or "none"] for t in TARGETS
    ]
    say_table(["target", *PRECISIONS, "engines here"], rows)
    for reason in dict.fromkeys(reason for reason in refused.values() if reason):
        say(f"no: {reason}")
    say("The default is --target tflite --precision int8.")
