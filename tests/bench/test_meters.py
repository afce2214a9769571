"""Energy: Linux's counters as the kernel shows them (in a folder of the test), and a meter of one's own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from t2m_bench import meters
from t2m_bench.meters import HwmonMeter, PowercapMeter, metered, open_meter
from t2m_runtime.errors import InputError


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_powercap_counters_are_summed_and_may_wrap(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(meters, "SYS", tmp_path)
    for zone, energy in (("intel-rapl:0", 5_000_000), ("intel-rapl:1", 9_000_000), ("intel-rapl:0:0", 1)):
        write(tmp_path / "powercap" / zone / "energy_uj", str(energy))
        write(tmp_path / "powercap" / zone / "max_energy_range_uj", "10000000")
    meter = PowercapMeter()
    assert meter.joules() == 0
    write(tmp_path / "powercap" / "intel-rapl:0" / "energy_uj", "7000000")
    write(tmp_path / "powercap" / "intel-rapl:1" / "energy_uj", "1000000")
    assert meter.joules() == pytest.approx(2 + 2)


def test_a_package_that_is_shown_twice_counts_once(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(meters, "SYS", tmp_path)
    for zone, name in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "psys"), ("intel-rapl-mmio:0", "package-0")):
        write(tmp_path / "powercap" / zone / "name", f"{name}\n")
        write(tmp_path / "powercap" / zone / "energy_uj", "5000000")
    meter = PowercapMeter()
    for zone in ("intel-rapl:0", "intel-rapl:1", "intel-rapl-mmio:0"):
        write(tmp_path / "powercap" / zone / "energy_uj", "6000000")
    assert meter.joules() == pytest.approx(1)


def test_a_sensor_that_goes_away_is_told(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(meters, "SYS", tmp_path)
    sensor = tmp_path / "hwmon" / "hwmon0" / "power1_input"
    write(sensor, "3000000")
    meter = HwmonMeter()
    sensor.unlink()
    deadline = time.monotonic() + 30
    with pytest.raises(InputError, match="power1_input"):
        while time.monotonic() < deadline:
            meter.joules()


def test_hwmon_power_is_summed_over_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(meters, "SYS", tmp_path)
    write(tmp_path / "hwmon" / "hwmon0" / "power1_input", "3000000")
    meter, began = HwmonMeter(), time.perf_counter()
    time.sleep(0.3)
    assert meter.joules() == pytest.approx(3 * (time.perf_counter() - began), rel=0.5)


class Steady:
    """A meter of 2 W."""

    name = "two watts"

    def joules(self) -> float:
        return 2 * time.perf_counter()


def test_a_meter_of_ones_own(monkeypatch) -> None:
    monkeypatch.setattr(meters, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(meters, "Steady", Steady, raising=False)
    with metered("t2m_bench.meters:Steady") as energy:
        time.sleep(0.1)
    assert energy.joules == pytest.approx(2 * energy.seconds, rel=0.2) and energy.idle_watts == pytest.approx(
        2, rel=0.5
    )


def test_a_meter_in_the_working_folder(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "bench_supply.py", "class Supply:\n    name = 'supply'\n    def joules(self): return 1.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(sys.path))
    assert open_meter("bench_supply:Supply").joules() == 1.0


@pytest.mark.parametrize("name", ["volts", "no.such:meter", "powercap", "json:dumps", "os:getcwd", "json:nothing"])
def test_a_meter_that_is_not_there_is_named(name: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(meters, "SYS", tmp_path)
    with pytest.raises(InputError, match=r"meter|powercap"):
        open_meter(name)
