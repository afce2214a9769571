"""Compile beside a converter: both sides make their file, and are timed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("litert_torch")
pytest.importorskip("ai_edge_quantizer")

from t2m_bench.converters import measure

TASK = Path(__file__).resolve().parents[2] / "examples" / "grocery.txt"


@pytest.mark.slow
def test_compile_and_converter_are_timed_in_turn() -> None:
    found = measure(TASK, "default", images=2, side=0, python=sys.executable, times=1, warm=True)
    assert found["classes"] == 10
    for key in ("cold_s", "warm_s"):
        assert found[key]["ratio"] == found[key]["converter"] / found[key]["compile"] > 1
