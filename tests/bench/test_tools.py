"""The modules that are run by themselves: the document's writer, litert-benchmark beside ours, the gate's trial."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from t2m_bench import document, gate, litert_benchmark
from t2m_bench.local import steady
from t2m_bench.timing import paired_ratio


@pytest.mark.slow
def test_the_document_is_written_whole(tmp_path: Path, monkeypatch, cache) -> None:
    monkeypatch.setattr(document, "COUNTED", ())
    monkeypatch.setattr(document, "PRECISIONS", ("int8", "fp32"))
    text = document.document(None, 0.2, lambda _: None)
    for words in ("# Benchmarks", "`groceries.fp32.onnx`", "2 threads", "## Compile"):
        assert words in text


def test_litert_benchmark_gives_a_median_of_its_own(model: Path) -> None:
    pytest.importorskip("ai_edge_litert.tools.benchmark_litert_model")
    assert 0 < litert_benchmark.theirs(model, 1, 50) < 1000


def test_our_loop_adds_microseconds() -> None:
    assert litert_benchmark.overhead(0.2) < 1000


@pytest.mark.slow
def test_the_gate_tells_a_slower_model_from_the_same_one(model: Path) -> None:
    found = gate.trips(model, 3, 2.0)
    assert found["equal_trips"] <= 1 and found["slower_ratio"] > found["equal_ratio"]


def test_blocks_take_turns() -> None:
    order: list[str] = []
    steady([lambda: order.append("a"), lambda: order.append("b")], 0.1)
    changes = sum(x != y for x, y in itertools.pairwise(order))
    assert changes == 19
    _, (first, second) = steady([lambda: None, lambda: None], 1.0)
    assert paired_ratio(first, second).blocks == 10
