"""Measure models on this machine: each in a process of its own, load, first run, steady state and frames kept apart.

``python -m t2m_bench.local REQUEST`` is that process: it reads a request as JSON and prints what it measured.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from t2m_runtime.errors import InputError, WorkError

FRAME = (480, 640)
FRAME_RUNS = 30
BLOCK_SECONDS = 0.1


@dataclass(frozen=True)
class Request:
    """What one process measures. models: one, or two that take turns; seconds: of steady state, each."""

    models: tuple[str, ...]
    engine: str | None
    threads: int
    seconds: float


@dataclass(frozen=True)
class Measured:
    """Of one model, in seconds. runs: single inferences; blocks: the median of each block of runs."""

    engine: str
    load: float
    first: float
    runs: tuple[float, ...]
    blocks: tuple[float, ...]
    prepare: tuple[float, ...]
    frame: tuple[float, ...]


def measure(request: Request) -> tuple[list[Measured], float]:
    """Run a request in a new process: what it measured for each model, and the process's peak memory in MB.

    Raises:
        InputError: a model or the engine cannot be used.
        WorkError: the process died.
    """
    command = [sys.executable, "-m", "t2m_bench.local", json.dumps(asdict(request))]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120 + 10 * request.seconds)
    if child.returncode == 2:
        raise InputError(child.stderr.strip().splitlines()[-1])
    if child.returncode:
        raise WorkError(f"measuring {request.models[0]} ended with status {child.returncode}: {child.stderr[-300:]}")
    found = json.loads(child.stdout.splitlines()[-1])
    return [Measured(**{k: tuple(v) if isinstance(v, list) else v for k, v in m.items()}) for m in found["measured"]], (
        found["peak_mb"]
    )


def measure_here(request: Request) -> list[Measured]:
    """The same in this process."""
    from t2m_runtime import Classifier, prepare

    rng = np.random.default_rng(0)
    loads, firsts, classifiers, images = [], [], [], []
    for model in request.models:
        began = time.perf_counter()
        classifier = Classifier.load(Path(model), engine=request.engine, num_threads=request.threads)
        loads.append(time.perf_counter() - began)
        spec = classifier.manifest.input
        image = rng.integers(0, 256, (1, spec.height, spec.width, 3), np.uint8)
        began = time.perf_counter()
        classifier.engine.run(image)
        firsts.append(time.perf_counter() - began)
        classifiers.append(classifier)
        images.append(image)
    runs, blocks = steady(classifiers, images, request.seconds)
    out = []
    for i, classifier in enumerate(classifiers):
        spec = classifier.manifest.input
        frame = rng.integers(0, 256, (*FRAME, 3), np.uint8)
        prepared = timed(lambda f=frame, s=spec: prepare(f, s.height, s.width), FRAME_RUNS)
        whole = timed(lambda c=classifier, f=frame: c.classify(f), FRAME_RUNS)
        name = f"{classifier.engine.name} {classifier.engine.version}"
        out.append(Measured(name, loads[i], firsts[i], tuple(runs[i]), tuple(blocks[i]), prepared, whole))
        classifier.close()
    return out


def steady(classifiers: list, images: list[np.ndarray], seconds: float) -> tuple[list[list[float]], list[list[float]]]:
    """Single runs and block medians of each model; blocks of BLOCK_SECONDS take turns, for ``seconds`` a model."""
    runs: list[list[float]] = [[] for _ in classifiers]
    blocks: list[list[float]] = [[] for _ in classifiers]
    clock = time.perf_counter
    for _ in range(max(10, round(seconds / BLOCK_SECONDS))):
        for i, (classifier, image) in enumerate(zip(classifiers, images, strict=True)):
            run, times = classifier.engine.run, []
            end = clock() + BLOCK_SECONDS
            run(image)  # the first finds the caches full of something else
            while not times or clock() < end:
                began = clock()
                run(image)
                times.append(clock() - began)
            runs[i] += times
            blocks[i].append(float(np.median(times)))
    return runs, blocks


def timed(call, times: int) -> tuple[float, ...]:
    """Seconds of each of several calls, after one that is not counted."""
    call()
    out = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        out.append(time.perf_counter() - began)
    return tuple(out)


def main() -> None:
    request = Request(**json.loads(sys.argv[1]))
    try:
        measured = measure_here(request)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)
    print(json.dumps({"measured": [asdict(m) for m in measured], "peak_mb": peak}))


if __name__ == "__main__":
    main()
