"""Measures models on the machine that it runs on, each in a process of its own: load, first run, steady state, frames.

``python -m t2m_bench.local REQUEST`` is that process: it reads a request as JSON and prints what it measured.
"""

from __future__ import annotations

import contextlib
import gc
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from t2m_bench.meters import metered
from t2m_bench.request import Measured, Request
from t2m_bench.subject import Subject, import_engine, load
from t2m_runtime.errors import InputError, WorkError

FRAME_RUNS, FEW_FRAMES, FRAME_SECONDS = 30, 5, 3.0
"""Frames that are timed, and how many are enough once they took so long."""
SWAP_RUNS = 200
BLOCK_SECONDS = 0.1
MIN_BLOCKS = 10


def measure(request: Request) -> list[Measured]:
    """Run a request in a new process here: what it measured for each model.

    Raises:
        InputError: a model or the engine cannot be used.
        WorkError: the process died.
    """
    command = [sys.executable, "-m", "t2m_bench.local", json.dumps(asdict(request))]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=600 + 10 * request.seconds)
    except subprocess.TimeoutExpired:
        raise WorkError(f"measuring {request.models[0]} did not end; give fewer photos or a smaller model") from None
    return answer(child.returncode, child.stdout, child.stderr, Path(request.models[0]).name)


def answer(status: int, out: str, err: str, name: str) -> list[Measured]:
    """What a process of this module said.

    Raises:
        InputError: it refused a model or the engine.
        WorkError: it died.
    """
    if status == 2 and err.strip():
        raise InputError(err.strip().splitlines()[-1])
    if status:
        raise WorkError(f"measuring {name} ended with status {status}: {' '.join(err[-300:].split())}")
    found = json.loads(out.splitlines()[-1])
    return [Measured(**{k: tuple(v) if isinstance(v, list) else v for k, v in m.items()}) for m in found]


def measure_here(request: Request) -> list[Measured]:
    """The same in this process."""
    for model in request.models:
        import_engine(Path(model), request.engine)
    before = _memory()
    clock = time.perf_counter
    subjects: list[Subject] = []
    starts: list[tuple[float, float]] = []
    for model in request.models:
        began = clock()
        subject = load(Path(model), request.engine, request.threads)
        loaded = clock()
        subject.run()
        starts.append((loaded - began, clock() - loaded))
        subjects.append(subject)
    with metered(request.meter) as energy:
        runs, blocks = steady([s.run for s in subjects], request.seconds)
    peak = _memory()
    found = []
    for i, subject in enumerate(subjects):
        extra: dict[str, Any] = {}
        if i == 0:
            extra = _of_the_first(request, subject)
            extra["energy"] = energy.as_dict() if len(subjects) == 1 and energy else None
        found.append(
            Measured(
                engine=subject.engine,
                load=starts[i][0],
                first=starts[i][1],
                runs=tuple(runs[i]),
                blocks=tuple(blocks[i]),
                prepare=timed(subject.prepare, FRAME_RUNS, FEW_FRAMES),
                frame=timed(subject.classify, FRAME_RUNS, FEW_FRAMES),
                memory={"before": before, "peak": peak},
                **extra,
            )
        )
    return found


def _of_the_first(request: Request, subject: Subject) -> dict[str, Any]:
    """What is measured of a request's first model alone."""
    extra: dict[str, Any] = {}
    if request.head:
        extra["swap"] = _swaps(request, subject.engine.split()[0] == "core")
    if request.photos and subject.name:
        photos = np.load(request.photos, mmap_mode="r")
        extra["named"] = tuple(subject.name(np.ascontiguousarray(photo)) for photo in photos)
    if request.profile:
        from t2m_bench.profiles import profile

        found = profile(Path(request.models[0]), subject.engine.split()[0], request.threads)
        extra["profile"], extra["profiler"] = found.operators, found.by
    return extra


def _swaps(request: Request, core: bool) -> tuple[float, ...]:
    """Seconds of each swap, by what an app calls: Classifier.swap_head on the C core, elsewhere Backbone.with_head."""
    from t2m_runtime import Backbone, Classifier

    head = Path(request.head or "").read_bytes()
    kind = Classifier if core else Backbone
    with kind.load(request.models[0], engine=request.engine, num_threads=request.threads) as loaded:
        swap = loaded.swap_head if core else loaded.with_head
        return timed(lambda: swap(head), SWAP_RUNS)


def steady(runs: Sequence[Callable[[], Any]], seconds: float) -> tuple[list[list[float]], list[list[float]]]:
    """Single runs and block medians of each model; blocks take turns until each ran for ``seconds``."""
    times: list[list[float]] = [[] for _ in runs]
    blocks: list[list[float]] = [[] for _ in runs]
    spent = [0.0 for _ in runs]
    clock = time.perf_counter
    gc.disable()
    try:
        while len(blocks[0]) < MIN_BLOCKS or min(spent) < seconds:
            for i, run in enumerate(runs):
                block = []
                if not blocks[i] or blocks[i][-1] < BLOCK_SECONDS:
                    run()  # it finds the caches full of something else
                end = clock() + BLOCK_SECONDS
                while not block or clock() < end:
                    began = clock()
                    run()
                    block.append(clock() - began)
                times[i] += block
                spent[i] += sum(block)
                blocks[i].append(float(np.median(block)))
    finally:
        gc.enable()
    return times, blocks


def timed(call: Callable[[], Any] | None, times: int, few: int | None = None) -> tuple[float, ...]:
    """Seconds of each of several calls, after one that is not counted; none of no call.

    few: so many are enough once they took FRAME_SECONDS.
    """
    out: list[float] = []
    if call is None:
        return ()
    call()
    start = time.perf_counter()
    while len(out) < times and (few is None or len(out) < few or time.perf_counter() - start < FRAME_SECONDS):
        began = time.perf_counter()
        call()
        out.append(time.perf_counter() - began)
    return tuple(out)


def _memory() -> float:
    """Peak resident memory of this process so far, in MB."""
    with contextlib.suppress(OSError):
        # getrusage also counts the parent's memory from before exec.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)


def main() -> None:
    try:
        request = Request(**json.loads(sys.argv[1]))
        measured = measure_here(request)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    print(json.dumps([asdict(m) for m in measured]))


if __name__ == "__main__":
    main()
