"""Arrays in the study's cache folder, which appear there whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

PART = 1000


def keep(path: Path, array: np.ndarray | None = None, **arrays: np.ndarray) -> None:
    """One array in a .npy file, or several by name in a .npz file; the folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".part-{path.name}")
    try:
        np.savez(aside, **arrays) if array is None else np.save(aside, array)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def in_parts(path: Path, count: int, make: Callable[[range], np.ndarray]) -> np.ndarray:
    """Rows that take long to make: each part is kept beside ``path``, so that a run that was stopped goes on there.

    Args:
        path: of what the caller keeps of all rows; it takes the parts away by ``drop_parts`` then.
        make: the rows of these numbers.
    """
    parts = []
    for start in range(0, count, PART):
        part = _part(path, start)
        if not part.exists():
            print(f"{path.stem}: {start} of {count}", file=sys.stderr, flush=True)
            keep(part, make(range(start, min(start + PART, count))))
        parts.append(np.load(part))
    return np.concatenate(parts)


def drop_parts(path: Path, count: int) -> None:
    """Removes what ``in_parts`` kept."""
    for start in range(0, count, PART):
        _part(path, start).unlink(missing_ok=True)


def _part(path: Path, start: int) -> Path:
    return path.with_name(f"{path.stem}-from-{start}.npy")
