"""A plan of measurements on one device, checked as a whole and then carried out one after the other."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from t2m_bench.devices import Device
from t2m_bench.request import Measured, Request
from t2m_bench.results import Result, Run, compared, result
from t2m_bench.subject import Facts, facts
from t2m_bench.timing import paired_ratio
from t2m_runtime import load_head, read_manifest
from t2m_runtime.backbone import check_head
from t2m_runtime.errors import InputError

SLOW_START, COUNTING = 0.6, 5.0
"""For the time left that is shown: seconds that a process takes beside its steady state, and to count instructions."""
REST = 60.0
"""Most rest between runs on devices that slow down when hot."""
KINDS = {"litert": "tflite", "litert-reference": "tflite", "tflite_runtime": "tflite", "core": "tflite"}
KINDS["onnxruntime"] = "onnx"

Photos = Callable[[Sequence[str]], Iterable[tuple[int, Any]]]
"""A model's labels -> (index of the right one, photo as t2m_runtime.Classifier.classify takes it) of each photo."""


@dataclass(frozen=True)
class Plan:
    """Every model with every engine (None: the installed one) and thread count that fit: the C core takes one thread.

    Args:
        seconds: of steady state of each run.
        cooldown: rest before each run, in seconds; None: on devices that need it, between runs, as long as a run takes
            and at most REST.
        baseline: a model that takes turns with each.
        head: a head file whose swap is timed; profile, meter: as in Request.
        photos, photos_name: labelled photos, and what they are called, for the accuracy.
    """

    models: tuple[Path, ...]
    engines: tuple[str | None, ...] = (None,)
    threads: tuple[int, ...] = (1,)
    seconds: float = 10.0
    cooldown: float | None = None
    baseline: Path | None = None
    head: Path | None = None
    profile: bool = False
    meter: str | None = None
    photos: Photos | None = None
    photos_name: str = ""
    suite: str | None = None


@dataclass(frozen=True)
class Progress:
    """Before a run: its number (from 0), how many there are, what it measures, seconds left of the whole plan."""

    number: int
    count: int
    what: str
    seconds_left: float


def run_plan(
    plan: Plan, device: Device, progress: Callable[[Progress], None] = lambda _: None, ended: float | None = None
) -> Iterator[Result]:
    """Results in the plan's order, each as soon as it is there.

    ended: when a run before this plan ended (time.monotonic), so that the device rests after that too.

    Raises:
        InputError: before anything is measured: a file is no model, an engine cannot run it, the device cannot be
            reached; later: the device was lost.
    """
    if not 0.05 <= plan.seconds <= 3600 or not 0 <= (plan.cooldown or 0) <= 3600:
        raise InputError("--seconds takes 0.05 to 3600, --cooldown 0 to 3600")
    known = {path: facts(path) for path in (*plan.models, *([plan.baseline] if plan.baseline else []))}
    jobs = _jobs(plan, known)
    if plan.meter and plan.baseline:
        raise InputError("--meter measures one model at a time; leave --baseline out")
    if plan.head:
        _check_head(plan.head, plan.models)
    device.check([request for _, request in jobs])
    rest = plan.cooldown if plan.cooldown is not None else min(plan.seconds, REST) if device.rests else 0.0
    share = run_seconds(plan.seconds * (2 if plan.baseline else 1), device)
    machine, commit = device.machine(), current_commit()
    for number, (model, request) in enumerate(jobs):
        left = share * (len(jobs) - number) + rest * (len(jobs) - max(number, 1))
        what = f"{model.name}, {request.engine or 'default engine'}, {_threads(request.threads)}"
        progress(Progress(number, len(jobs), what, left))
        waited = rest if ended is not None else plan.cooldown or 0.0
        time.sleep(waited)
        rested = waited if ended is None else time.monotonic() - ended
        with _photos(plan, known[model]) as (path, right):
            measured, before, after = device.measure(replace(request, photos=path))
        ended = time.monotonic()
        run = Run(device.name, device.unit, machine, before, after, request.threads, rested, commit, plan.suite)
        against = None
        if plan.baseline:
            against = compared(paired_ratio(measured[0].blocks, measured[1].blocks), plan.baseline.name)
        accuracy = _accuracy(measured[0], right, plan.photos_name)
        yield result(model, known[model], measured[0], run, accuracy, against)


def _jobs(plan: Plan, known: dict[Path, Facts]) -> list[tuple[Path, Request]]:
    """The runs of a plan; a model that none of the engines runs is an error, an engine for other models is not."""
    if "core" in plan.engines and 1 not in plan.threads:
        raise InputError("the C core runs on one thread; give 1 among the thread counts too, or leave core out")
    jobs = []
    for model in plan.models:
        kind = known[model].kind
        for name in plan.engines:
            if name is not None and name not in KINDS:
                raise InputError(f"there is no engine {name!r}; give some of {', '.join(KINDS)}")
        fitting = settings(plan.engines, plan.threads, kind)
        if not fitting:
            able = ", ".join(e for e, k in KINDS.items() if k == kind)
            raise InputError(
                f"{model.name}: engine {', '.join(map(str, plan.engines))} does not run .{kind} models; give {able}"
            )
        if (plan.head or plan.photos) and not known[model].ours:
            raise InputError(f"{model.name} was not made by t2m-edge: it has no labels and no head to swap")
        other = known[plan.baseline].kind if plan.baseline else kind
        if other != kind and None not in plan.engines:
            raise InputError(
                f"the baseline is a .{other} and {model.name} a .{kind}: leave --engine out, or compare alike"
            )
        models = (str(model), str(plan.baseline)) if plan.baseline else (str(model),)
        head = str(plan.head) if plan.head else None
        jobs += [
            (model, Request(models, engine, threads, plan.seconds, head, None, plan.profile, plan.meter))
            for engine, threads in fitting
        ]
    return jobs


def settings(engines: Sequence[str | None], threads: Sequence[int], kind: str) -> list[tuple[str | None, int]]:
    """(engine, threads) that fit a kind of model, each once; the C core takes one thread."""
    fitting = [e for e in dict.fromkeys(engines) if e is None or KINDS[e] == kind]
    return [(e, t) for e in fitting for t in dict.fromkeys(threads) if e != "core" or t == 1]


def left_out(plan: Plan) -> list[str]:
    """Which of a plan's engines and thread counts no run has, and why."""
    kinds = {facts(model).kind for model in plan.models}
    found = [
        f"{engine} took no part: it runs .{KINDS[engine]} models"
        for engine in dict.fromkeys(plan.engines)
        if engine and KINDS[engine] not in kinds
    ]
    if "core" in plan.engines and "tflite" in kinds and set(plan.threads) != {1}:
        found.append("the C core was measured on one thread alone")
    return found


def run_seconds(seconds: float, device: Device) -> float:
    """About how long a run takes, for the time left that is shown."""
    return seconds + SLOW_START if device.unit == "ms" else COUNTING


def _check_head(head: Path, models: Sequence[Path]) -> None:
    """Raises InputError unless a head file fits on every model's backbone."""
    found, manifest = load_head(head)
    for model in models:
        check_head(found, manifest, read_manifest(model), head.name)


@contextmanager
def _photos(plan: Plan, model: Facts) -> Iterator[tuple[str | None, list[int]]]:
    """A file of the photos, prepared for a model, and their right labels."""
    if plan.photos is None:
        yield None, []
        return
    from t2m_runtime import open_image, prepare

    height, width = model.input or (0, 0)
    with tempfile.TemporaryDirectory() as folder:
        raw, right = Path(folder) / "photos.raw", []
        with raw.open("wb") as file:
            for label, photo in plan.photos(model.labels):
                file.write(prepare(open_image(photo), height, width, model.crop or "center").tobytes())
                right.append(label)
        path = Path(folder) / "photos.npy"
        np.save(path, np.memmap(raw, np.uint8, "r", shape=(len(right), height, width, 3)))
        yield str(path), right


def _accuracy(measured: Measured, right: list[int], name: str) -> dict[str, Any] | None:
    if not right:
        return None
    hits = sum(a == b for a, b in zip(measured.named, right, strict=True))
    return {"folder": name, "images": len(right), "right": hits, "accuracy": hits / len(right)}


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def current_commit() -> str | None:
    """The git commit of the working folder, None outside a repository."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
