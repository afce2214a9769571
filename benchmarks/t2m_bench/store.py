"""The local database of results: one SQLite file, one row a result.

Its user_version is the schema of its newest results. A database of an earlier t2m-edge is brought up to date when it is
opened; one of a later t2m-edge is refused.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from t2m_bench.results import SCHEMA
from t2m_bench.upgrade import upgraded
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


def check(path: Path) -> None:
    """Makes a database where there is none.

    Raises:
        InputError: it cannot be written to, or is none.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(path, error) from None
    with _open(path) as database:
        database.execute("begin immediate")
        database.execute(f"pragma user_version = {SCHEMA}")  # what cannot be written to is told here


def add(path: Path, results: Iterable[dict[str, Any]]) -> list[int]:
    """Keep results (Result.as_dict); their ids."""
    check(path)
    with _open(path) as database, database:
        return [_insert(database, r) for r in results]


def history(path: Path, model: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
    """The newest rows, oldest of them first; ``model`` is a part of a file name or of a hash."""
    if not path.exists():
        return []
    where = "where model like ? or sha256 like ?" if model else ""
    like = (f"%{model}%", f"{model}%") if model else ()
    query = f"select {', '.join(COLUMNS)} from runs {where} order by id desc limit ?"
    with _open(path) as database:
        return [dict(zip(COLUMNS, row)) for row in database.execute(query, (*like, limit))][::-1]


def get(path: Path, number: int) -> dict[str, Any]:
    """A whole result by its id.

    Raises:
        InputError: there is none.
    """
    row = None
    if path.exists():
        with _open(path) as database:
            row = database.execute("select result from runs where id = ?", (number,)).fetchone()
    if row is None:
        raise InputError(f"there is no result {number} in {path}; t2m-edge bench history lists them")
    return upgraded(json.loads(row[0]))


def _insert(database: sqlite3.Connection, r: dict[str, Any], number: int | None = None) -> int:
    runs = r["runs"]
    row = (
        number, r["when"], r["name"], r["sha256"], r["engine"], r["threads"], r["device"], r["machine"]["processor"],
        r["unit"], runs["p50"], runs["p90"], bool(r["suspect"]), json.dumps(r),
    )  # fmt: skip
    marks = ", ".join("?" * len(row))
    done = database.execute(f"insert into runs ({', '.join(COLUMNS)}, result) values ({marks})", row)
    return done.lastrowid or 0


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, of today's schema, inside a ``with``.

    Raises:
        InputError: also for what goes wrong inside: no database, no right to write, a full disk.
    """
    try:
        with closing(sqlite3.connect(path, timeout=10)) as database:
            (version,) = database.execute("pragma user_version").fetchone()
            if version > SCHEMA:
                raise InputError(f"{path} was written by a later t2m-edge (schema {version}); update this one")
            if version < SCHEMA:
                _update(database)
            yield database
    except sqlite3.Error as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: Exception) -> InputError:
    said = getattr(error, "strerror", None) or error
    return InputError(f"{path} cannot hold results ({said}); name another with --database or $T2M_BENCH_DB")


def _update(database: sqlite3.Connection) -> None:
    """A new database, or one of an earlier schema, in one transaction; schema 1 had a table called results."""
    with database:
        database.execute("begin immediate")
        database.execute(TABLE)
        if database.execute("select 1 from sqlite_master where name = 'results'").fetchone():
            for number, text in database.execute("select id, result from results").fetchall():
                taken = database.execute("select 1 from runs where id = ?", (number,)).fetchone()
                _insert(database, upgraded(json.loads(text)), None if taken else number)
            database.execute("drop table results")
        database.execute(f"pragma user_version = {SCHEMA}")
