"""The database of results, and those that an earlier t2m-edge left."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_bench.results import SCHEMA, Result
from t2m_bench.store import add, get, history
from t2m_bench.upgrade import upgraded
from t2m_edge.cli.main import run
from t2m_runtime.errors import InputError

SUMMARY = {
    "count": 900,
    "mean": 1.1,
    "deviation": 0.1,
    "minimum": 0.9,
    "p50": 1.0,
    "p90": 1.2,
    "p95": 1.3,
    "p99": 1.5,
}
MACHINE = {
    "name": "here", "system": "Linux", "architecture": "x86_64", "processor": "Fast One", "cores": 2,
    "memory_mb": 2000, "python": "3.11",
}  # fmt: skip
STATE = {"clock_mhz": None, "governor": None, "temperature_c": None, "load": 0.1}
COMMON = {
    "model": "models/pets.tflite", "sha256": "ab" * 32, "size_bytes": 1_362_113, "engine": "litert 2.2.0", "threads": 1,
    "device": "local", "machine": MACHINE, "before": STATE, "after": STATE, "commit": None,
    "when": "2026-01-01T10:00:00+00:00", "runs": SUMMARY, "prepare": SUMMARY, "frame": SUMMARY,
    "checks": {"at least 60 s of inference": False}, "suspect": [], "baseline": None,
}  # fmt: skip
FIRST = {**COMMON, "schema_version": 1, "load_s": 0.012, "first_s": 0.003, "peak_mb": 52.0, "raw": [0.001] * 10}
SECOND = {
    **COMMON, "schema_version": 2, "name": "pets.tflite", "kind": "tflite", "precision": "int8", "classes": 2,
    "unit": "ms", "load": 12.0, "first": 3.0, "swap": None, "quantiles": [1.0] * 101, "blocks": [1.0] * 10,
    "memory": {"peak": 52.0}, "profile": [["stem", "CONV_2D", 0.1]], "energy": None, "accuracy": None, "suite": None,
    "compile": None,
}  # fmt: skip
FIRST_TABLE = """
create table results (
  id integer primary key, time text not null, model text not null, sha256 text not null, engine text not null,
  threads integer not null, device text not null, processor text not null, p50_ms real not null, p90_ms real not null,
  suspect integer not null, result text not null
)
"""
SECOND_TABLE = """
create table runs (
  id integer primary key, time text not null, model text not null, sha256 text not null, engine text not null,
  threads integer not null, device text not null, processor text not null, unit text not null,
  p50 real not null, p90 real not null, suspect integer not null, result text not null
)
"""


def old_database(path: Path) -> None:
    """As the first and then the second schema's t2m-edge left it."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(FIRST_TABLE)
        database.execute(SECOND_TABLE)
        row = ("2026-01-01", "pets.tflite", "ab", "litert 2.2.0", 1, "local", "Fast One")
        insert = "insert into {} values (null, ?, ?, ?, ?, ?, ?, ?, {} ?, ?, ?, ?)"
        database.execute(insert.format("results", ""), (*row, 1.0, 1.2, 0, json.dumps(FIRST)))
        database.execute(insert.format("runs", "'ms',"), (*row, 1.0, 1.2, 0, json.dumps(SECOND)))


def test_results_of_earlier_schemas_are_listed_compared_and_shown(database: Path, capsys, tmp_path: Path) -> None:
    old_database(database)
    rows = history(database)
    assert [r["model"] for r in rows] == ["pets.tflite"] * 2
    both = [get(database, r["id"]) for r in rows]
    for found in both:
        assert found["schema_version"] == SCHEMA and list(found)[1:] == list(Result.__dataclass_fields__)
        assert found["load"] == 12.0 and found["first"] == 3.0 and found["blocks"] == [1.0] * 10
    assert both[0]["profiler"] == "the model cut behind each operator" and not both[1]["quantiles"]
    assert run(["bench", "compare", *(str(r["id"]) for r in rows)]) == 0
    assert run(["bench", "report", str(tmp_path / "old.html")]) == 0
    capsys.readouterr()
    add(database, [both[0]])
    assert len(history(database)) == 3


def test_a_database_of_a_later_t2m_edge_is_refused_in_one_line(database: Path, capsys) -> None:
    with closing(sqlite3.connect(database)) as later, later:
        later.execute(f"pragma user_version = {SCHEMA + 1}")
    for command in (["history"], ["compare", "1", "2"], ["export", "x.json"], ["report", "x.html"]):
        assert run(["bench", *command]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "later t2m-edge" in line and str(database) in line


def test_a_result_of_a_later_schema_or_with_parts_missing_is_refused() -> None:
    with pytest.raises(InputError, match="schema 99"):
        upgraded({**SECOND, "schema_version": 99})
    with pytest.raises(InputError, match="lacks engine"):
        upgraded({k: v for k, v in SECOND.items() if k != "engine"})


@given(
    st.sampled_from([FIRST, SECOND]),
    st.dictionaries(st.sampled_from([*FIRST, *SECOND]), st.none() | st.integers() | st.text() | st.lists(st.floats())),
    st.sets(st.sampled_from([*FIRST, *SECOND])),
)
def test_any_object_is_a_result_or_one_line(base: dict, changed: dict, removed: set[str]) -> None:
    try:
        found = upgraded({k: v for k, v in {**base, **changed}.items() if k not in removed})
        assert found["schema_version"] == SCHEMA
    except InputError as error:
        assert "\n" not in str(error)
