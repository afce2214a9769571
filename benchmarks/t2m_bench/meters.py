"""Energy of the steady state, read from a meter.

A meter is an object with ``name`` (text) and ``joules()``: the energy in joules that it has counted so far, from any
start. ``--meter powercap`` and ``--meter hwmon`` read Linux's counters; ``--meter PACKAGE.MODULE:NAME`` calls that name
without arguments for a meter of your own (a USB power meter, a bench supply), installed or in the working folder.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from t2m_runtime.errors import InputError

SYS = Path("/sys/class")
IDLE_SECONDS = 1.0
SAMPLE_SECONDS = 0.02


class Meter(Protocol):
    """What the module's text says."""

    name: str

    def joules(self) -> float:
        """Energy so far."""
        ...


@dataclass
class Energy:
    """Of a steady state: joules over seconds, and what the machine drew while it did nothing before."""

    meter: str
    joules: float = 0.0
    seconds: float = 0.0
    idle_watts: float = 0.0

    def as_dict(self) -> dict[str, float | str]:
        """For JSON."""
        return asdict(self)


@contextmanager
def metered(name: str | None) -> Iterator[Energy | None]:
    """Meters what runs inside the ``with``; None where no meter is named.

    Raises:
        InputError: there is no such meter here, or it cannot be read.
    """
    if name is None:
        yield None
        return
    meter = open_meter(name)
    energy = Energy(meter.name)
    began, clock = meter.joules(), time.perf_counter()
    time.sleep(IDLE_SECONDS)
    energy.idle_watts = (meter.joules() - began) / (time.perf_counter() - clock)
    began, clock = meter.joules(), time.perf_counter()
    yield energy
    energy.joules, energy.seconds = meter.joules() - began, time.perf_counter() - clock


def open_meter(name: str) -> Meter:
    """A meter by its name.

    Raises:
        InputError: there is no such meter here, or it cannot be read.
    """
    if name == "powercap":
        return PowercapMeter()
    if name == "hwmon":
        return HwmonMeter()
    module, _, thing = name.partition(":")
    if not thing:
        raise InputError(f"there is no meter {name!r}; give powercap, hwmon or PACKAGE.MODULE:NAME")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        meter = getattr(import_module(module), thing)()
        meter.name.strip()
        float(meter.joules())
    except Exception as error:  # whatever a user's own code raises
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"the meter {name} needs name and joules(), and cannot be used ({said})") from None
    return meter


class PowercapMeter:
    """Linux powercap (Intel and AMD RAPL): the sum of the packages' counters, which wrap at max_energy_range_uj.

    The same packages may be there again as intel-rapl-mmio, and with all around them as psys: those are left out.
    """

    name = "powercap"

    def __init__(self) -> None:
        zones = sorted(p for p in (SYS / "powercap").glob("*:[0-9]*") if p.name.count(":") == 1)
        zones = [p for p in zones if not p.name.startswith("intel-rapl-mmio")] or zones
        self._zones = [p for p in zones if _text(p / "name").startswith("package")] or zones
        if not self._zones:
            raise InputError("this machine has no powercap counters (/sys/class/powercap); name another --meter")
        self._last = [_number(zone / "energy_uj") for zone in self._zones]
        self._sum = 0.0

    def joules(self) -> float:
        """Energy since the meter was opened."""
        for i, zone in enumerate(self._zones):
            now = _number(zone / "energy_uj")
            step = now - self._last[i]
            self._sum += step if step >= 0 else step + _number(zone / "max_energy_range_uj")
            self._last[i] = now
        return self._sum / 1e6


class HwmonMeter:
    """Linux hwmon sensors of power (power*_input, microwatts), sampled in a thread and summed over time."""

    name = "hwmon"

    def __init__(self) -> None:
        self._sensors = sorted((SYS / "hwmon").glob("hwmon*/power[0-9]*_input"))
        if not self._sensors:
            raise InputError("this machine has no power sensors (/sys/class/hwmon); name another --meter")
        self._joules, self._watts, self._at = 0.0, self._read(), time.perf_counter()
        self._lost: InputError | None = None
        threading.Thread(target=self._sample, daemon=True).start()

    def _read(self) -> float:
        return sum(_number(sensor) for sensor in self._sensors) / 1e6

    def _sample(self) -> None:
        while True:
            time.sleep(SAMPLE_SECONDS)
            try:
                watts, now = self._read(), time.perf_counter()
            except InputError as error:
                self._lost = error
                return
            self._joules += (watts + self._watts) / 2 * (now - self._at)
            self._watts, self._at = watts, now

    def joules(self) -> float:
        """Energy since the meter was opened."""
        if self._lost:
            raise self._lost
        return self._joules


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"the meter {path} cannot be read ({error}); it may need root") from None
