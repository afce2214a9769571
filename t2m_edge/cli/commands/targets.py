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
    from t2m_edge.compiler.compiling import PRECISIONS, TARGETS
    from t2m_runtime.engines import available_engines

    engines = available_engines()
    readers = {"tflite": ("litert", "tflite_runtime"), "onnx": ("onnxruntime",)}
    working = {target: [name for name in readers[target] if engines[name].version] for target in TARGETS}
    if json:
        cells = [
            {"target": target, "precision": precision, "engines": working[target]}
            for target in TARGETS
            for precision in PRECISIONS
        ]
        print_json("targets", {"targets": cells})
        return
    rows = [[target, *("yes" for _ in PRECISIONS), ", ".join(working[target]) or "none"] for target in TARGETS]
    say_table(["target", *PRECISIONS, "engines here"], rows)
    say("The default is --target tflite --precision int8.")
