"""Teacher vectors of many lines, computed in chunks that survive an interruption."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

CHUNK = 8192


class Teacher(Protocol):
    """What gives the vectors to learn: `id` names it, `encode` gives float32 (n, d), unit rows."""

    id: str

    def encode(self, texts: Sequence[str]) -> np.ndarray: ...


def teacher_vectors(
    lines: Sequence[str], teacher: Teacher, folder: str | Path, progress: Callable[[str], None] = lambda _: None
) -> np.ndarray:
    """float16 (len(lines), d): the teacher's vector of every line.

    Every `CHUNK` lines become one file in `folder`, named after the teacher and the lines in it, written aside and then
    renamed: a run that was stopped goes on where it was, and other lines or another teacher never read a wrong file.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chunks = []
    for start in range(0, len(lines), CHUNK):
        part = lines[start : start + CHUNK]
        path = folder / f"{chunk_name(part, teacher.id)}.npy"
        if not path.is_file():
            vectors = teacher.encode(part).astype(np.float16)
            aside = path.with_suffix(f".{os.getpid()}.part")
            with aside.open("wb") as file:
                np.save(file, vectors)
            aside.replace(path)
            progress(f"teacher vectors: {start + len(part)} of {len(lines)} lines")
        chunks.append(np.load(path, allow_pickle=False))
    return np.concatenate(chunks)


def chunk_name(lines: Sequence[str], teacher_id: str) -> str:
    """A file name that changes with any line and with the teacher."""
    return hashlib.sha256("\n".join([teacher_id, *lines]).encode()).hexdigest()[:20]
