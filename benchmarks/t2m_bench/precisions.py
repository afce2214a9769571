"""int8 against float: one image's time in each model, side by side, and of .tflite models operator by operator.

    python -m t2m_bench.precisions model.int8.tflite model.fp32.tflite

Times are CPU time of one thread, least and median of many rounds in which the models take turns, so that other work on
the machine changes the ratio little. Ratios are to the last model named. An operator's time is what the model takes cut
behind it less what it takes cut before it, which shows where a precision loses; small ones drown in the noise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from t2m_bench.exits import one_line
from t2m_bench.profiles import cuts
from t2m_bench.subject import facts
from t2m_runtime.artifact import kind_of

Run = Callable[[], object]


def timed(runs: dict[str, Run], rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of each, the runs taking turns; each is run once untimed before it is timed."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            began = time.thread_time()
            run()
            found[name].append((time.thread_time() - began) * 1e6)
    return {name: {"min_us": min(t), "median_us": statistics.median(t)} for name, t in found.items()}


def runner(model: bytes) -> Run:
    """One inference of a model on a fixed noise image, one thread."""
    rng = np.random.default_rng(0)
    if kind_of(model) == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        end = session.get_inputs()[0]
        image = rng.integers(0, 256, end.shape, dtype=np.uint8)
        return lambda: session.run(None, {end.name: image})
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    interpreter.set_tensor(detail["index"], rng.integers(0, 256, detail["shape"], dtype=np.uint8))
    return interpreter.invoke


def operators(models: dict[str, bytes], rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of each operator's result, by model."""
    runs = {f"{name}\n{what}": runner(cut) for name, model in models.items() for (what, _), cut in cuts(model)}
    found: dict[str, dict[str, float]] = {}
    before, last = 0.0, ""
    for key, times in timed(runs, rounds).items():
        name, what = key.split("\n")
        before = before if name == last else 0.0
        found.setdefault(what, {})[name] = times["min_us"] - before
        before, last = times["min_us"], name
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--operators", action="store_true", help="also each operator of .tflite models")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with one_line():
        for path in args.models:
            facts(path)
    models = {path.name: path.read_bytes() for path in args.models}
    whole = timed({name: runner(model) for name, model in models.items()}, args.rounds)
    base = whole[args.models[-1].name]["min_us"]
    result = {"schema_version": 1, "models": {n: {**t, "ratio": t["min_us"] / base} for n, t in whole.items()}}
    lite = {name: model for name, model in models.items() if kind_of(model) == "tflite"}
    if args.operators:
        result["operators"] = operators(lite, args.rounds)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    for name, times in result["models"].items():
        print(f"{name:32.32} {times['min_us']:8.0f} us least {times['median_us']:8.0f} median  x{times['ratio']:.3f}")
    for what, times in result.get("operators", {}).items():
        print(f"{what:32.32} " + "  ".join(f"{times.get(name, float('nan')):8.0f}" for name in lite))


if __name__ == "__main__":
    main()
