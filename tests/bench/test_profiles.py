"""What each operator takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import t2m_edge
from t2m_bench import litert_profiler, profiles
from t2m_bench.litert_profiler import NoProfiler
from t2m_runtime.errors import InputError

TASK = Path(__file__).resolve().parents[2] / "examples" / "grocery.txt"


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch) -> None:
    monkeypatch.setattr(profiles, "ROUNDS", 3)


def test_litert_is_asked_itself(model: Path) -> None:
    try:
        litert_profiler.profile(model, 1, 3)
    except NoProfiler as error:
        pytest.skip(f"this LiteRT has no profiler: {error}")
    found = profiles.profile(model, "litert")
    kinds = " ".join(kind for _, kind, _ in found.operators)
    assert found.by == "LiteRT's profiler" and kinds.count("Convolution") >= 10 and "Softmax" in kinds
    assert all(t >= 0 for _, _, t in found.operators) and sum(t for _, _, t in found.operators) > 1e-4
    reference = profiles.profile(model, "litert-reference")
    assert [kind for _, kind, _ in reference.operators].count("CONV_2D") >= 10


def test_without_litert_s_profiler_the_model_is_cut(model: Path, monkeypatch) -> None:
    def none_here(*_: object) -> None:
        raise NoProfiler

    monkeypatch.setattr(litert_profiler, "profile", none_here)
    found = profiles.profile(model, "litert")
    kinds = [kind for _, kind, _ in found.operators]
    assert found.by == profiles.CUT
    assert kinds.count("CONV_2D") >= 10 and kinds[-1] == "SOFTMAX" and "FULLY_CONNECTED" in kinds
    assert all(t >= 0 for _, _, t in found.operators) and sum(t for _, _, t in found.operators) > 0


@pytest.mark.parametrize("size", [24, 104, 256])
def test_events_of_another_form_are_no_profile(size: int) -> None:
    """Bytes that a later LiteRT might write: no pointer in them is followed."""
    raw = bytearray(b"\xa5" * (4 * litert_profiler.EVENT_BYTES))
    raw[: 4 * size] = np.random.default_rng(0).integers(1, 160, 4 * size, np.uint8).tobytes()
    with pytest.raises(NoProfiler, match="another form"):
        litert_profiler._read(bytes(raw), 4)


def test_the_core_s_steps_are_timed_and_named(model: Path, cache: Path) -> None:
    try:
        found = profiles.profile(model, "core")
    except InputError as error:
        pytest.skip(str(error))
    names = [name.split()[0] for name, _, _ in found.operators]
    assert found.by == profiles.CORE and "stem" in names and names[-2:] == ["features", "the"]
    assert all(t >= 0 for _, _, t in found.operators) and sum(t for _, _, t in found.operators) > 1e-4


def test_onnx_runtime_says_it_itself(tmp_path: Path) -> None:
    t2m_edge.compile(TASK, tmp_path / "model.onnx", target="onnx")
    found = profiles.profile(tmp_path / "model.onnx", "onnxruntime")
    assert found.by == "ONNX Runtime's profiler" and all(t >= 0 for _, _, t in found.operators)
    assert any(kind == "QLinearConv" for _, kind, _ in found.operators)
