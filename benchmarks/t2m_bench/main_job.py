"""What the main job costs: ``python -m t2m_bench.main_job TASK [--peer mobilenet_v2_1.0_224_quant.tflite] [--json]``.

Measures ``t2m-edge compile`` in new processes and in a warm one, its peak memory, ``t2m-edge --help``, and the compiled
model against a peer model, run in turn in one process on one thread. Medians; nothing is cached between processes but
what the operating system keeps.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from t2m_bench.exits import one_line
from t2m_bench.suite_run import process, summary_of
from t2m_runtime.errors import InputError

WARM = """
import json, sys, time, t2m_edge
times = []
for i in range(21):
    began = time.perf_counter()
    t2m_edge.compile(sys.argv[1], f"{sys.argv[2]}.{i}.tflite")
    times.append(time.perf_counter() - began)
print(json.dumps(times[1:]))
"""


def repeated(command: list[str], times: int) -> dict[str, float]:
    """What new processes of a command take, after one to warm the disk."""
    process(command)
    return summary_of([process(command) for _ in range(times)])


def in_turn(models: dict[str, bytes], seconds: float = 4.0) -> dict[str, float]:
    """Median milliseconds of one inference of each ``.tflite``, one thread, the models taking turns."""
    from ai_edge_litert.interpreter import Interpreter

    ready = {}
    for name, data in models.items():
        interpreter = Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
        detail = interpreter.get_input_details()[0]
        image = np.random.default_rng(0).integers(0, 256, detail["shape"]).astype(detail["dtype"])
        interpreter.set_tensor(detail["index"], image)
        ready[name] = interpreter
    times: dict[str, list[float]] = {name: [] for name in models}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, interpreter in ready.items():
            for i in range(6):
                began = time.perf_counter()
                interpreter.invoke()
                if i:  # the first one finds the caches full of the other model
                    times[name].append(time.perf_counter() - began)
    return {name: statistics.median(t) * 1e3 for name, t in times.items()}


def measure(task: Path, peer: Path | None, times: int) -> dict[str, object]:
    """All figures of one run.

    Raises:
        InputError: a file is missing, or the command t2m-edge.
        WorkError: compile failed.
    """
    if not shutil.which("t2m-edge"):
        raise InputError("t2m-edge is not on PATH; activate the environment in which it is installed")
    for path in filter(None, (task, peer)):
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.tflite"
        command = ["t2m-edge", "compile", str(task), "-o", str(model), "--overwrite"]
        result: dict[str, object] = {"schema_version": 1, "task": str(task), "cpus": os.cpu_count()}
        result["compile_new_process"] = repeated(command, times)
        warm = subprocess.run([sys.executable, "-c", WARM, str(task), str(model)], check=True, capture_output=True)
        result["compile_warm"] = {"median_s": statistics.median(json.loads(warm.stdout.splitlines()[-1]))}
        result["help"] = repeated(["t2m-edge", "--help"], times)
        result["model_bytes"] = model.stat().st_size
        models = {"model": model.read_bytes()}
        if peer is not None:
            models[peer.name] = peer.read_bytes()
        latency = in_turn(models)
        result["latency_ms"] = latency
        if peer is not None:
            result["latency_ratio"] = latency["model"] / latency[peer.name]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--times", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with one_line():
        result = measure(args.task, args.peer, args.times)
    if args.json:
        print(json.dumps(result, indent=1))
        return
    for name in ("compile_new_process", "help"):
        entry = result[name]
        print(f"{name:22} {entry['median_s'] * 1e3:8.1f} ms median, {entry['peak_mb']:.0f} MB peak")
    print(f"{'compile_warm':22} {result['compile_warm']['median_s'] * 1e3:8.1f} ms median")
    for name, ms in result["latency_ms"].items():
        print(f"{name:22.22} {ms:8.3f} ms an image, one thread")
    if "latency_ratio" in result:
        print(f"{'ratio':22} {result['latency_ratio']:8.3f}")


if __name__ == "__main__":
    main()
