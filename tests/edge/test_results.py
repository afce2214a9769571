"""Results of the study are kept line by line."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from t2m_edge.evaluation.results import ResultFile


def test_a_later_run_finds_what_an_earlier_one_measured(tmp_path: Path) -> None:
    first = ResultFile(tmp_path / "cache" / "study.jsonl")
    first.add({"method": "a", "settings": {"strength": (1.0, 2.0)}}, {"accuracy": [1.0]})
    again = ResultFile(tmp_path / "cache" / "study.jsonl")
    assert again.get({"settings": {"strength": [1.0, 2.0]}, "method": "a"}) == {"accuracy": [1.0]}
    assert again.get({"method": "b", "settings": {"strength": [1.0, 2.0]}}) is None


@given(cut=st.integers(1, 200))
def test_a_line_cut_by_a_kill_costs_that_line_alone(tmp_path_factory, cut: int) -> None:
    path = tmp_path_factory.mktemp("results") / "study.jsonl"
    file = ResultFile(path)
    for number in range(3):
        file.add({"number": number}, {"accuracy": {"name": [number]}})
    data = path.read_bytes()
    last = len(data.rstrip(b"\n").rpartition(b"\n")[0]) + 1
    path.write_bytes(data[: max(last, len(data) - cut)])
    again = ResultFile(path)
    assert again.get({"number": 1}) == {"accuracy": {"name": [1]}}
    again.add({"number": 2}, {"accuracy": {"name": [2]}})
    assert ResultFile(path).get({"number": 2}) == {"accuracy": {"name": [2]}}
    assert ResultFile(path).get({"number": 0}) == {"accuracy": {"name": [0]}}
