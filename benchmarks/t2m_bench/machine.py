"""Facts of the machine that a benchmark runs on, and what changes while it runs: clock, governor, temperature, load.

Read from Linux's /proc and /sys; what a system does not show is None.
"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

PROC, SYS = Path("/proc"), Path("/sys")


@dataclass(frozen=True)
class Machine:
    """What does not change between runs. memory_mb: of the whole machine."""

    name: str
    system: str
    architecture: str
    processor: str
    cores: int
    memory_mb: int | None
    python: str

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class State:
    """What may change. clock_mhz: mean over the cores; temperature_c: of the hottest zone; load: running tasks."""

    clock_mhz: float | None
    governor: str | None
    temperature_c: float | None
    load: float | None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def machine() -> Machine:
    """This machine."""
    memory = next(
        (int(line.split()[1]) // 1024 for line in _lines(PROC / "meminfo") if line.startswith("MemTotal")), None
    )
    return Machine(
        name=platform.node(),
        system=f"{platform.system()} {platform.release()}",
        architecture=platform.machine(),
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_mb=memory,
        python=platform.python_version(),
    )


def state() -> State:
    """This moment."""
    clocks = [float(line.split(":")[1]) for line in _lines(PROC / "cpuinfo") if line.startswith("cpu MHz")]
    frequencies = [
        int(t) / 1000 for t in _texts("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq") if t.isdigit()
    ]
    governors = set(_texts("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    zones = [int(t) / 1000 for t in _texts("class/thermal/thermal_zone*/temp") if t.lstrip("-").isdigit()]
    clocks = frequencies or clocks
    load = _lines(PROC / "loadavg")
    return State(
        clock_mhz=sum(clocks) / len(clocks) if clocks else None,
        governor=", ".join(sorted(governors)) or None,
        temperature_c=max((z for z in zones if -40 < z < 150), default=None),
        load=float(load[0].split()[0]) if load else None,
    )


def _processor() -> str:
    for line in _lines(PROC / "cpuinfo"):
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware", "Model", "uarch") and value.strip():
            return value.strip()
    return platform.processor() or "unknown"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def _texts(pattern: str) -> list[str]:
    return [lines[0].strip() for path in sorted(SYS.glob(pattern)) if (lines := _lines(path))]
