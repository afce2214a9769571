from __future__ import annotations

from pathlib import Path

import pytest

import t2m_bench.machine as module
from t2m_bench.machine import machine, state


def test_this_machine_has_a_processor_and_cores() -> None:
    here = machine()
    assert here.processor and here.cores >= 1 and here.architecture


def test_what_linux_shows_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "proc/cpuinfo": "processor : 0\nmodel name : Fast One\ncpu MHz : 900.0\n",
        "proc/loadavg": "0.75 0.5 0.2 1/100 42\n",
        "proc/meminfo": "MemTotal: 2048000 kB\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/class/thermal/thermal_zone0/temp": "41000\n",
        "sys/class/thermal/thermal_zone1/temp": "-274000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert (machine().processor, machine().memory_mb) == ("Fast One", 2000)
    assert state() == module.State(clock_mhz=1500.0, governor="powersave", temperature_c=41.0, load=0.75)


def test_a_system_without_these_files_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert state() == module.State(None, None, None, None)
    assert machine().memory_mb is None


def test_a_board_that_sent_its_files_is_named_with_arms_names_of_its_cores() -> None:
    core = "processor : {}\nCPU implementer : 0x41\nCPU part : {}\n"
    info = "".join(core.format(i, part) for i, part in enumerate(["0xd03", "0xd03", "0xd08"]))
    files = {"proc/cpuinfo": info, "sys/firmware/devicetree/base/model": "A Board\0"}
    found = module.machine_from(files, "board", "Linux 6", "aarch64")
    assert (found.processor, found.cores, found.memory_mb) == ("A Board, 2 Cortex-A53 + 1 Cortex-A72", 3, None)
