"""t2m-edge verify: does a model still give its self-test answer."""

from __future__ import annotations

from t2m_edge.cli.options import Artifact, Debug, Engine, Json, PackName, Threads, new_app
from t2m_edge.cli.output import print_json, say

app = new_app()


@app.command()
def verify(
    model: Artifact,
    engine: Engine = None,
    threads: Threads = 1,
    pack: PackName = "default",
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Runs a model's own test image and compares the answer with the one stored when it was made.

    \b
    t2m-edge verify model.tflite
    t2m-edge verify model.tflite --engine litert
    t2m-edge verify head.t2mh --pack default

    A head file has no image inside: its test is a row of the feature bank of the pack that made it.
    Exit code 1 when the answer differs by more than the model's tolerance.
    """
    from t2m_runtime.artifact import read_manifest
    from t2m_runtime.classifier import Classifier

    if read_manifest(model).target == "head":
        from t2m_edge.compiler.verifying import verify_head

        error, tolerance = verify_head(model, pack)
        name, version = "numpy", ""
    else:
        with Classifier.load(model, engine=engine, num_threads=threads) as classifier:
            error = classifier.self_test()
            tolerance = classifier.manifest.self_test.tolerance
            name, version = classifier.engine.name, classifier.engine.version
    passed = error <= tolerance
    if json:
        facts = {"model": str(model), "engine": name, "engine_version": version}
        print_json("verify", {**facts, "passed": passed, "max_error": error, "tolerance": tolerance})
    else:
        on = f"{name} {version}".strip()
        say(
            f"{model}: {'right' if passed else 'WRONG'} on {on}; scores differ by at most {error:.2g} "
            f"(tolerance {tolerance:g})"
        )
    return 0 if passed else 1
