"""The local database of results: one SQLite file, one row a result."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from t2m_runtime.errors import InputError

TABLE = """
create table if not exists runs (
  id integer primary key, time text not null, model text not null, sha256 text not null, engine text not null,
  threads integer not null, device text not null, processor text not null, unit text not null,
  p50 real not null, p90 real not null, suspect integer not null, result text not null
)
"""
COLUMNS = ("id", "time", "model", "sha256", "engine", "threads", "device", "processor", "unit", "p50", "p90", "suspect")


def default_path() -> Path:
    """Where results are kept: $T2M_BENCH_DB, or the user's data folder."""
    if named := os.environ.get("T2M_BENCH_DB"):
        return Path(named)
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "t2m-edge" / "bench.sqlite"


def add(path: Path, results: Iterable[dict[str, Any]]) -> None:
    """Keep results (Result.as_dict)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(_open(path)) as database, database:
        for r in results:
            runs = r["runs"]
            row = (
                r["when"], r["name"], r["sha256"], r["engine"], r["threads"], r["device"], r["machine"]["processor"],
                r["unit"], runs["p50"], runs["p90"], bool(r["suspect"]), json.dumps(r),
            )  # fmt: skip
            marks = ", ".join("?" * len(row))
            database.execute(f"insert into runs ({', '.join(COLUMNS[1:])}, result) values ({marks})", row)


def history(path: Path, model: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
    """The newest rows, oldest of them first; ``model`` is a part of a file name or of a hash."""
    if not path.exists():
        return []
    where = "where model like ? or sha256 like ?" if model else ""
    like = (f"%{model}%", f"{model}%") if model else ()
    query = f"select {', '.join(COLUMNS)} from runs {where} order by id desc limit ?"
    with closing(_open(path)) as database:
        return [dict(zip(COLUMNS, row)) for row in database.execute(query, (*like, limit))][::-1]


def get(path: Path, number: int) -> dict[str, Any]:
    """A whole result by its id.

    Raises:
        InputError: there is none.
    """
    row = None
    if path.exists():
        with closing(_open(path)) as database:
            row = database.execute("select result from runs where id = ?", (number,)).fetchone()
    if row is None:
        raise InputError(f"there is no result {number} in {path}; t2m-edge bench history lists them")
    return json.loads(row[0])


def _open(path: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path, timeout=10)
        database.execute(TABLE)
    except sqlite3.DatabaseError as error:
        raise InputError(f"{path} is not a database of results ({error}); name another with T2M_BENCH_DB") from None
    return database
