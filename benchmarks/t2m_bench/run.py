"""A plan of measurements on this machine, carried out one process at a time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from t2m_bench.local import Request, measure
from t2m_bench.machine import machine, state
from t2m_bench.results import Result, compared, result
from t2m_bench.timing import paired_ratio
from t2m_runtime.errors import InputError

SLOW_START = 0.5
"""Seconds that a process takes beside its steady state, for the time left that is shown."""


@dataclass(frozen=True)
class Plan:
    """Every model with every engine (None: the installed one) and thread count; seconds of steady state of each run."""

    models: tuple[Path, ...]
    engines: tuple[str | None, ...] = (None,)
    threads: tuple[int, ...] = (1,)
    seconds: float = 10.0
    cooldown: float = 0.0
    baseline: Path | None = None


def run_plan(plan: Plan, progress: Callable[[str], None] = lambda _: None) -> Iterator[Result]:
    """Results in the plan's order.

    Raises:
        InputError: a model is missing, an engine cannot run it, or the times make no sense.
    """
    for path in (*plan.models, *([plan.baseline] if plan.baseline else [])):
        if not path.is_file():
            raise InputError(f"{path}: there is no such file")
    if not 0.05 <= plan.seconds <= 3600 or not 0 <= plan.cooldown <= 3600:
        raise InputError("--seconds takes 0.05 to 3600, --cooldown 0 to 3600")
    jobs = [(m, e, t) for m in plan.models for e in plan.engines for t in plan.threads]
    share = plan.seconds * (2 if plan.baseline else 1) + plan.cooldown + SLOW_START
    here, commit = machine(), current_commit()
    for number, (model, engine, threads) in enumerate(jobs):
        left = share * (len(jobs) - number)
        progress(f"{number + 1} of {len(jobs)}: {model.name}, {threads} threads, about {left:.0f} s left")
        time.sleep(plan.cooldown)
        models = (str(model), str(plan.baseline)) if plan.baseline else (str(model),)
        before = state()
        measured, peak = measure(Request(models, engine, threads, plan.seconds))
        after = state()
        against = None
        if plan.baseline:
            against = compared(paired_ratio(measured[0].blocks, measured[1].blocks), plan.baseline.name)
        yield result(model, measured[0], threads, here, before, after, peak, commit, against)


def current_commit() -> str | None:
    """The git commit of the working folder, None outside a repository."""
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
