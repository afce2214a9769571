from __future__ import annotations

import numpy as np
import pytest

from t2m_bench.timing import paired_ratio, summarise


def test_a_summary_is_in_milliseconds_and_ordered() -> None:
    found = summarise([0.001 * i for i in range(1, 101)])
    assert found.count == 100 and found.minimum == pytest.approx(1)
    assert found.p50 == pytest.approx(50.5)
    assert found.p50 < found.p90 < found.p95 < found.p99
    assert summarise([0.002]).deviation == 0


def blocks(rng: np.random.Generator, slowdown: float, count: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Block medians of two models on a machine whose speed wanders by a third, with 3 % of noise of their own."""
    speed = 1e-3 * np.exp(np.cumsum(rng.normal(0, 0.05, count)))
    ours, theirs = (speed * np.exp(rng.normal(0, 0.03, count)) for _ in range(2))
    return ours * (1 + slowdown), theirs


def test_the_gate_seldom_stops_an_equal_model_and_nearly_always_a_tenth_slower_one() -> None:
    rng = np.random.default_rng(0)
    equal = sum(paired_ratio(*blocks(rng, 0.0), seed=i).slower_than(0.05) for i in range(50))
    slower = sum(paired_ratio(*blocks(rng, 0.1), seed=i).slower_than(0.05) for i in range(50))
    assert equal <= 1
    assert slower >= 45


def test_the_ratio_comes_with_its_range() -> None:
    found = paired_ratio(*blocks(np.random.default_rng(1), 0.2))
    assert found.low < found.ratio < found.high
    assert found.ratio == pytest.approx(1.2, abs=0.03)


def test_too_few_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="8 or more"):
        paired_ratio([1.0] * 7, [1.0] * 7)
