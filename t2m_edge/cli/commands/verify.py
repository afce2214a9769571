"""t2m-edge verify: does a model still give its self-test answer."""

from __future__ import annotations

from t2m_edge.cli.options import Debug, Engine, Json, Model, Threads, new_app
from t2m_edge.cli.output import print_json, say

app = new_app()


@app.command()
def verify(model: Model, engine: Engine = None, threads: Threads = 1, json: Json = False, debug: Debug = False) -> int:
    """Runs a model's own test image and compares the answer with the one stored when it was made.

    \b
    t2m-edge verify model.tflite
    t2m-edge verify model.tflite --engine litert

    Exit code 1 when the answer differs by more than the model's tolerance.
    """
    from t2m_runtime.classifier import Classifier

    with Classifier.load(model, engine=engine, num_threads=threads) as classifier:
        error = classifier.self_test()
        tolerance = classifier.manifest.self_test.tolerance
        name, version = classifier.engine.name, classifier.engine.version
    passed = error <= tolerance
    if json:
        facts = {"model": str(model), "engine": name, "engine_version": version}
        print_json("verify", {**facts, "passed": passed, "max_error": error, "tolerance": tolerance})
    else:
        say(
            f"{model}: {'right' if passed else 'WRONG'} on {name} {version}; scores differ by at most {error:.2g} "
            f"(tolerance {tolerance:g})"
        )
    return 0 if passed else 1
