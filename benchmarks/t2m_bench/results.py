"""A benchmark's result: what was measured, where, and whether it counts; as JSON with ``schema_version``."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from t2m_bench.local import Measured
from t2m_bench.machine import Machine, State
from t2m_bench.timing import Ratio, Summary, summarise

SCHEMA = 1
MIN_SECONDS, MIN_COUNT = 60.0, 1024
"""MLPerf Mobile's single-stream rule: at least a minute and 1,024 queries; it reports the 90th percentile."""
DRIFT, BUSY, HOTTER = 0.05, 0.5, 10.0


@dataclass(frozen=True)
class Result:
    """One model, engine and thread count on one device.

    load_s, first_s: seconds; runs, prepare, frame: summaries in milliseconds. checks: rule -> whether it is kept.
    suspect: reasons to distrust the figures. raw: median seconds of each block, for comparisons and plots.
    """

    model: str
    sha256: str
    size_bytes: int
    engine: str
    threads: int
    device: str
    machine: dict[str, Any]
    before: dict[str, Any]
    after: dict[str, Any]
    commit: str | None
    when: str
    load_s: float
    first_s: float
    runs: dict[str, float]
    prepare: dict[str, float]
    frame: dict[str, float]
    peak_mb: float
    checks: dict[str, bool]
    suspect: tuple[str, ...]
    raw: tuple[float, ...]
    baseline: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"schema_version": SCHEMA, **asdict(self)}


def result(
    model: Path,
    measured: Measured,
    threads: int,
    machine: Machine,
    before: State,
    after: State,
    peak_mb: float,
    commit: str | None,
    baseline: dict[str, Any] | None = None,
) -> Result:
    """Of a local run."""
    data = model.read_bytes()
    runs = summarise(measured.runs)
    return Result(
        model=str(model),
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        engine=measured.engine,
        threads=threads,
        device="local",
        machine=machine.as_dict(),
        before=before.as_dict(),
        after=after.as_dict(),
        commit=commit,
        when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        load_s=measured.load,
        first_s=measured.first,
        runs=runs.as_dict(),
        prepare=summarise(measured.prepare).as_dict(),
        frame=summarise(measured.frame).as_dict(),
        peak_mb=peak_mb,
        checks=mlperf_checks(runs, sum(measured.runs)),
        suspect=doubts(measured.blocks, machine, before, after, threads),
        raw=measured.blocks,
        baseline=baseline,
    )


def mlperf_checks(runs: Summary, seconds: float) -> dict[str, bool]:
    """MLPerf Mobile's rules that a run on any device can keep or break."""
    return {
        f"at least {MIN_SECONDS:g} s of inference": seconds >= MIN_SECONDS,
        f"at least {MIN_COUNT} inferences": runs.count >= MIN_COUNT,
    }


def doubts(blocks: tuple[float, ...], machine: Machine, before: State, after: State, threads: int) -> tuple[str, ...]:
    """Why a run may not show what the model costs; empty for a clean one."""
    found = []
    quarter = max(1, len(blocks) // 4)
    drift = float(np.median(blocks[-quarter:]) / np.median(blocks[:quarter])) - 1
    if abs(drift) > DRIFT:
        found.append(f"the last quarter ran {drift:+.0%} against the first: heat, or another program")
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
    differences = [k for k in ("device", "engine", "threads") if first[k] != second[k]]
    keys = ("architecture", "processor", "cores")
    return differences + [k for k in keys if first["machine"][k] != second["machine"][k]]
