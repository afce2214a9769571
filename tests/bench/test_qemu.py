"""Instruction counts repeat exactly, and are told from times."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import t2m_edge
from t2m_bench.devices.qemu import QemuDevice
from t2m_bench.request import Request
from t2m_edge.cli.main import run
from t2m_runtime.errors import InputError

TASK = Path(__file__).resolve().parents[2] / "examples" / "grocery.txt"


def count(model: Path, cpu: str, profile: bool = False) -> dict:
    device, request = QemuDevice(cpu), Request((str(model),), profile=profile)
    try:
        device.check([request])
    except InputError as error:
        pytest.skip(str(error))
    (found,), _, _ = device.measure(request)
    return found.__dict__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cpu", "low", "high"), [("cortex-a72", 5e6, 4e7), ("cortex-m4", 1e8, 4e8), ("cortex-m55", 1e8, 4e8)]
)
def test_counts_repeat_within_a_ten_thousandth(cache, model: Path, cpu: str, low: float, high: float) -> None:
    first, second = count(model, cpu), count(model, cpu)
    for key in ("load", "first"):
        assert first[key] == pytest.approx(second[key], rel=1e-4)
    assert max(first["runs"]) / min(first["runs"]) < 1.0001
    assert low < first["first"] < high
    assert first["engine"].startswith("core") and ("gcc" in first["engine"] or "clang" in first["engine"])
    assert first["frame"][0] > first["first"] + first["prepare"][0] * 0.9


@pytest.mark.slow
def test_the_operators_counts_are_those_of_an_inference(cache, model: Path) -> None:
    found = count(model, "cortex-a72", profile=True)
    names = [name for name, _, _ in found["profile"]]
    assert names[0].startswith("image") and names[-1] == "the head" and "counted" in found["profiler"]
    # An inference also writes the input, which is no step.
    assert sum(n for _, _, n in found["profile"]) == pytest.approx(found["runs"][0], rel=0.005)


@pytest.mark.slow
def test_the_command_says_that_they_are_no_times(cache, model: Path, capsys) -> None:
    if not shutil.which("qemu-aarch64"):
        pytest.skip("no qemu-aarch64 here")
    code = run(["bench", str(model), "--device", "qemu:cortex-a53"])
    out = capsys.readouterr()
    assert code == 0 and "Instructions, not times." in out.out and " M " in out.out
    run(["bench", "history", "--json"])
    assert json.loads(capsys.readouterr().out)["results"][0]["unit"] == "instructions"


def test_a_model_that_the_board_has_no_room_for_is_named(tmp_path: Path) -> None:
    t2m_edge.compile(TASK, tmp_path / "large.tflite", precision="fp32")
    with pytest.raises(InputError, match=r"large.tflite: 5.1 MB .* cortex-m55"):
        QemuDevice("cortex-m4")._fits(tmp_path / "large.tflite", (tmp_path / "large.tflite").stat().st_size)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--device", "qemu:pentium"], "cortex-a72"),
        (["--device", "qemu:cortex-a72", "--threads", "2"], "one thread"),
        (["--device", "qemu:cortex-a72", "--baseline", "MODEL"], "only counts"),
    ],
)
def test_wrong_use_is_one_line(model: Path, arguments: list[str], words: str, capsys) -> None:
    if "pentium" not in arguments[1] and not shutil.which("qemu-aarch64"):
        pytest.skip("no qemu-aarch64 here")
    assert run(["bench", str(model), *(str(model) if a == "MODEL" else a for a in arguments)]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
