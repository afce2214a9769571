"""Facts of the machine that a benchmark runs on, and what changes while it runs: clock, governor, temperature, load.

Read from Linux's /proc and /sys, here or on a board that sent the text of those files; what a system does not show is
None.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path("/")
CLOCK = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"
GOVERNOR = "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
ZONE = "sys/class/thermal/thermal_zone*/temp"
BOARD_MODEL = "sys/firmware/devicetree/base/model"
FIXED = ("proc/cpuinfo", "proc/meminfo", BOARD_MODEL)
CHANGING = ("proc/cpuinfo", "proc/loadavg", CLOCK, GOVERNOR, ZONE)

Files = Mapping[str, str]
"""Path without its first slash -> text."""


@dataclass(frozen=True)
class Machine:
    """What does not change between runs. memory_mb: of the whole machine; python: None where none was used."""

    name: str
    system: str
    architecture: str
    processor: str
    cores: int
    memory_mb: int | None
    python: str | None = None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class State:
    """What may change. clock_mhz: mean over the cores; temperature_c: of the hottest zone; load: running tasks."""

    clock_mhz: float | None = None
    governor: str | None = None
    temperature_c: float | None = None
    load: float | None = None

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def machine() -> Machine:
    """This machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    system = f"{platform.system()} {platform.release()}"
    return machine_from(read_here(FIXED), platform.node(), system, platform.machine(), cores, platform.python_version())


def machine_from(
    files: Files, name: str, system: str, architecture: str, cores: int | None = None, python: str | None = None
) -> Machine:
    """A machine that sent its FIXED files; cores: None counts those of /proc/cpuinfo."""
    info = files.get("proc/cpuinfo", "").splitlines()
    memory = [line for line in files.get("proc/meminfo", "").splitlines() if line.startswith("MemTotal")]
    return Machine(
        name=name,
        system=system,
        architecture=architecture,
        processor=_processor(files, info) or platform.processor() or "unknown",
        cores=cores or sum(line.split(":")[0].strip() == "processor" for line in info) or 1,
        memory_mb=int(memory[0].split()[1]) // 1024 if memory else None,
        python=python,
    )


def state() -> State:
    """This moment, here."""
    return state_from(read_here(CHANGING))


def state_from(files: Files) -> State:
    """The moment at which a machine sent its CHANGING files."""
    info = files.get("proc/cpuinfo", "").splitlines()
    clocks = [int(t) / 1000 for t in _values(files, CLOCK) if t.isdigit()]
    clocks = clocks or [float(line.split(":")[1]) for line in info if line.startswith("cpu MHz")]
    zones = [int(t) / 1000 for t in _values(files, ZONE) if t.lstrip("-").isdigit()]
    load = files.get("proc/loadavg", "").split()
    return State(
        clock_mhz=sum(clocks) / len(clocks) if clocks else None,
        governor=", ".join(sorted(set(_values(files, GOVERNOR)))) or None,
        temperature_c=max((z for z in zones if -40 < z < 150), default=None),
        load=float(load[0]) if load else None,
    )


def read_here(patterns: tuple[str, ...]) -> dict[str, str]:
    """The text of this machine's files; those that cannot be read are left out."""
    found = {}
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            try:
                found[path.relative_to(ROOT).as_posix()] = path.read_text("utf-8", "replace")
            except OSError:
                continue
    return found


_ARM_PARTS = {
    "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0d": "Cortex-A77", "0xd41": "Cortex-A78",
    "0xd44": "Cortex-X1", "0xd46": "Cortex-A510", "0xd47": "Cortex-A710", "0xd48": "Cortex-X2", "0xd4d": "Cortex-A715",
    "0xd4e": "Cortex-X3", "0xc07": "Cortex-A7", "0xc08": "Cortex-A8", "0xc09": "Cortex-A9", "0xc0f": "Cortex-A15",
}  # fmt: skip
"""Part numbers of Arm's own processors (Arm: MIDR_EL1 of each processor's reference manual)."""


def _processor(files: Files, info: list[str]) -> str | None:
    """The board's or processor's name, and Arm's name of the cores where the kernel gives only part numbers."""
    facts: dict[str, str] = {}
    parts: dict[str, int] = {}
    for line in info:
        key, _, value = (part.strip() for part in line.partition(":"))
        facts.setdefault(key, value)
        if key == "CPU part" and facts.get("CPU implementer") == "0x41":
            name = _ARM_PARTS.get(value.lower(), f"part {value}")
            parts[name] = parts.get(name, 0) + 1
    board = files.get(BOARD_MODEL, "").strip("\0\n ")
    named = [facts[k] for k in ("model name", "Hardware", "Model", "uarch") if facts.get(k)]
    cores = " + ".join(f"{count} {name}" for name, count in parts.items())
    return ", ".join(filter(None, [board or (named[0] if named else ""), cores])) or None


def _values(files: Files, pattern: str) -> Iterator[str]:
    return (text.split("\n")[0].strip() for path, text in sorted(files.items()) if fnmatchcase(path, pattern))
