from __future__ import annotations

from t2m_bench.machine import Machine, State
from t2m_bench.results import doubts, mlperf_checks, unlike
from t2m_bench.timing import summarise

HERE = Machine("here", "Linux", "x86_64", "Fast One", 4, 2000, "3.11")
CALM = State(1000.0, "performance", 40.0, 0.1)


def test_a_calm_steady_run_is_not_doubted() -> None:
    assert doubts((1e-3,) * 40, HERE, CALM, CALM, 1) == ()


def test_drift_load_governor_heat_and_too_many_threads_are_named() -> None:
    after = State(800.0, "powersave", 60.0, 0.1)
    found = " ".join(doubts((1e-3,) * 20 + (1.2e-3,) * 20, HERE, State(1000.0, "performance", 40.0, 3.0), after, 8))
    for word in ("took 20% longer", "busy", "powersave", "20 degrees", "8 threads on 4 cores"):
        assert word in found


def test_a_run_that_grew_faster_is_not_called_hot() -> None:
    (found,) = doubts((1.2e-3,) * 20 + (0.9e-3,) * 20, HERE, CALM, CALM, 1)
    assert found.startswith("the last quarter took 25% less") and "heat" not in found


def test_mlperf_mobile_wants_a_minute_1024_inferences_and_rest() -> None:
    mobile = [
        list(mlperf_checks(summarise([1e-3] * n), s, r).values())[:3] for n, s, r in ((1023, 59, 59), (1024, 60, 60))
    ]
    assert mobile == [[False] * 3, [True] * 3]


def test_mlperf_tiny_wants_ten_seconds_and_ten_inferences() -> None:
    tiny = [list(mlperf_checks(summarise([1.0] * n), n, 0).values())[3] for n in (9, 10)]
    assert tiny == [False, True]


def test_unlike_runs_are_told_apart() -> None:
    first = {"device": "local", "engine": "litert 2", "threads": 1, "machine": HERE.as_dict()}
    assert unlike(first, first) == []
    other = {**first, "threads": 2, "machine": {**HERE.as_dict(), "processor": "Slow One"}}
    assert unlike(first, other) == ["threads", "processor"]
