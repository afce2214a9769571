"""What each operator takes."""

from __future__ import annotations

from pathlib import Path

import pytest

import t2m_edge
from t2m_bench import profiles

TASK = Path(__file__).resolve().parents[2] / "examples" / "grocery.txt"


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch) -> None:
    monkeypatch.setattr(profiles, "ROUNDS", 3)


def test_the_operators_of_a_tflite_are_named_in_order(model: Path) -> None:
    found = profiles.profile(model)
    kinds = [kind for _, kind, _ in found]
    assert kinds.count("CONV_2D") >= 10 and kinds[-1] == "SOFTMAX" and "FULLY_CONNECTED" in kinds
    assert all(t >= 0 for _, _, t in found) and sum(t for _, _, t in found) > 0


def test_onnx_runtime_says_it_itself(tmp_path: Path) -> None:
    t2m_edge.compile(TASK, tmp_path / "model.onnx", target="onnx")
    found = profiles.profile(tmp_path / "model.onnx")
    assert any(kind == "QLinearConv" for _, kind, _ in found) and all(t >= 0 for _, _, t in found)
