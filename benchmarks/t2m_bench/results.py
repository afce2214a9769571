"""A benchmark's result: what was measured, where, and whether it counts; as JSON with ``schema_version``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from t2m_bench.machine import Machine, State
from t2m_bench.request import Measured
from t2m_bench.subject import Facts
from t2m_bench.timing import Ratio, Summary, summarise

SCHEMA = 3
MIN_SECONDS, MIN_COUNT, MIN_REST = 60.0, 1024, 60.0
"""MLPerf Mobile's single-stream rules: a minute, 1,024 queries, a minute's rest (quick mode); it reports the p90."""
TINY_SECONDS, TINY_COUNT = 10.0, 10
"""MLPerf Tiny's: ten seconds and ten inferences."""
DRIFT, BUSY, HOTTER = 0.05, 0.5, 10.0
UNITS = {"ms": 1e3, "instructions": 1.0}
"""unit of a result -> what a device's numbers (seconds, or instructions) are multiplied by."""


@dataclass(frozen=True)
class Result:
    """One model, engine and thread count on one device.

    Args:
        model, name, sha256, size_bytes, kind, precision, classes: of the file; the last two None for foreign models.
        unit: of load, first, runs, prepare, frame, swap, quantiles, blocks and profile: "ms", or "instructions" where
            a device counts them, which are no times.
        runs, prepare, frame, swap: summaries (timing.Summary), None where not measured.
        quantiles: of single runs, from 0 to 100 %, 101 of them; blocks: medians of blocks of runs, in order.
        memory: MB, and bytes of the C core's arena; profile: [operator, kind, time]; profiler: what measured those.
        accuracy: of the same engine, settings and file: {folder, images, right, accuracy}.
        checks: rule -> whether it is kept. suspect: reasons to distrust the figures.
        compile: what making the file took: {command, processes, median_s, min_s, peak_mb}.
    """

    model: str
    name: str
    sha256: str
    size_bytes: int
    kind: str
    precision: str | None
    classes: int | None
    engine: str
    threads: int
    device: str
    unit: str
    machine: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    commit: str | None
    when: str
    load: float
    first: float
    runs: dict[str, float]
    prepare: dict[str, float] | None
    frame: dict[str, float] | None
    swap: dict[str, float] | None
    quantiles: tuple[float, ...]
    blocks: tuple[float, ...]
    memory: dict[str, float] | None
    profile: tuple[tuple[str, str, float], ...]
    profiler: str | None
    energy: dict[str, Any] | None
    accuracy: dict[str, Any] | None
    checks: dict[str, bool]
    suspect: tuple[str, ...]
    baseline: dict[str, Any] | None = None
    suite: str | None = None
    compile: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema_version": SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class Run:
    """Where, when and how something was measured: what a result says beside the measured numbers."""

    device: str
    unit: str
    machine: Machine
    before: State
    after: State
    threads: int
    rested: float
    commit: str | None = None
    suite: str | None = None


def result(
    model: Path,
    facts: Facts,
    measured: Measured,
    run: Run,
    accuracy: dict[str, Any] | None = None,
    baseline: dict[str, Any] | None = None,
) -> Result:
    """Of what a device measured."""
    scale = UNITS[run.unit]
    runs = summarise(measured.runs, scale)
    return Result(
        model=str(model),
        name=model.name,
        sha256=hashlib.sha256(model.read_bytes()).hexdigest(),
        size_bytes=facts.size_bytes,
        kind=facts.kind,
        precision=facts.precision,
        classes=facts.classes,
        engine=measured.engine,
        threads=run.threads,
        device=run.device,
        unit=run.unit,
        machine=run.machine.as_dict(),
        before=run.before.as_dict(),
        after=run.after.as_dict(),
        commit=run.commit,
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        load=measured.load * scale,
        first=measured.first * scale,
        runs=runs.as_dict(),
        prepare=_summary(measured.prepare, scale),
        frame=_summary(measured.frame, scale),
        swap=_summary(measured.swap, scale),
        quantiles=tuple(float(v) for v in np.percentile(np.asarray(measured.runs) * scale, range(101))),
        blocks=tuple(t * scale for t in measured.blocks),
        memory=measured.memory,
        profile=tuple((name, kind, t * scale) for name, kind, t in measured.profile),
        profiler=measured.profiler,
        energy=_energy(measured),
        accuracy=accuracy,
        checks=mlperf_checks(runs, sum(measured.runs), run.rested) if run.unit == "ms" else {},
        suspect=doubts(measured.blocks, run.machine, run.before, run.after, run.threads) if run.unit == "ms" else (),
        baseline=baseline,
        suite=run.suite,
    )


def _summary(times: Sequence[float], scale: float) -> dict[str, float] | None:
    return summarise(times, scale).as_dict() if times else None


def _energy(measured: Measured) -> dict[str, Any] | None:
    """The meter's numbers and millijoules an inference, in all and beyond what the machine draws when idle."""
    if measured.energy is None:
        return None
    joules, seconds = measured.energy["joules"], measured.energy["seconds"]
    extra = joules - measured.energy["idle_watts"] * seconds
    count = len(measured.runs)
    return {**measured.energy, "mj_per_inference": joules / count * 1e3, "extra_mj_per_inference": extra / count * 1e3}


def mlperf_checks(runs: Summary, seconds: float, rested: float) -> dict[str, bool]:
    """MLPerf Mobile's rules, and MLPerf Tiny's, that a run on any device can keep or break."""
    return {
        f"MLPerf Mobile: at least {MIN_SECONDS:g} s of inference": seconds >= MIN_SECONDS,
        f"MLPerf Mobile: at least {MIN_COUNT:,} inferences": runs.count >= MIN_COUNT,
        f"MLPerf Mobile: at least {MIN_REST:g} s of rest before": rested >= MIN_REST,
        f"MLPerf Tiny: at least {TINY_SECONDS:g} s and {TINY_COUNT} inferences": (
            seconds >= TINY_SECONDS and runs.count >= TINY_COUNT
        ),
    }


def doubts(blocks: Sequence[float], machine: Machine, before: State, after: State, threads: int) -> tuple[str, ...]:
    """Why a run may not show what the model costs; empty for a clean one."""
    found = []
    quarter = max(1, len(blocks) // 4)
    drift = float(np.median(blocks[-quarter:]) / np.median(blocks[:quarter])) - 1
    if drift > DRIFT:
        found.append(f"the last quarter took {drift:.0%} longer than the first: heat, or another program")
    elif drift < -DRIFT:
        found.append(f"the last quarter took {-drift:.0%} less than the first: a cold start, or another program")
    if before.load is not None and before.load > BUSY * machine.cores:
        found.append(f"the machine was busy: load {before.load:.1f} on {machine.cores} cores before the run")
    if before.governor != after.governor:
        found.append(f"the clock governor changed from {before.governor} to {after.governor}")
    if before.temperature_c is not None and after.temperature_c is not None:
        rise = after.temperature_c - before.temperature_c
        if rise > HOTTER:
            found.append(f"it grew {rise:.0f} degrees hotter")
    if threads > machine.cores:
        found.append(f"{threads} threads on {machine.cores} cores")
    return tuple(found)


def compared(ratio: Ratio, name: str) -> dict[str, Any]:
    """A comparison with a baseline, for JSON."""
    return {"model": name, **asdict(ratio)}


def unlike(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """In what two results differ that makes their times incomparable."""
    differences = [k for k in ("device", "unit", "engine", "threads") if first.get(k) != second.get(k)]
    keys = ("architecture", "processor", "cores")
    return differences + [k for k in keys if first["machine"][k] != second["machine"][k]]
