"""What a device is asked to measure, and what it answers: the same for every kind of device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Request:
    """One measurement.

    Args:
        models: paths: one, or two that take turns.
        engine: name; None takes the one that is installed, on a board the C core.
        threads: of the engine.
        seconds: of steady state, of each model.
        head: path of a head file whose swap into the first model is timed.
        photos: path of prepared images, uint8 (n, height, width, 3) as .npy, that the first model names.
        profile: whether to say what each operator of the first model takes.
        meter: energy meter for the steady state; None is none.
    """

    models: tuple[str, ...]
    engine: str | None = None
    threads: int = 1
    seconds: float = 10.0
    head: str | None = None
    photos: str | None = None
    profile: bool = False
    meter: str | None = None


@dataclass(frozen=True)
class Measured:
    """Of one model, in seconds (of a counting device: in instructions). What was not measured is empty or None.

    Args:
        engine: name and version.
        load: from the file's path to a model that is ready; first: the first inference after it.
        runs: single inferences of the steady state; blocks: the median of each block of runs, in order.
        prepare: camera frame -> model input; frame: camera frame -> class names; swap: head file -> ready to run.
        named: index of the best label of each photo.
        profile: (operator, its kind, time) in the order in which they run; profiler: what measured them.
        energy: meter, joules, seconds, idle_watts.
        memory: MB: before (the process without a model), peak; arena: bytes of the C core's memory.
    """

    engine: str
    load: float
    first: float
    runs: tuple[float, ...]
    blocks: tuple[float, ...]
    prepare: tuple[float, ...] = ()
    frame: tuple[float, ...] = ()
    swap: tuple[float, ...] = ()
    named: tuple[int, ...] = ()
    profile: tuple[tuple[str, str, float], ...] = ()
    profiler: str | None = None
    energy: dict[str, Any] | None = None
    memory: dict[str, float] | None = None
