"""numpy's matrix products in one thread while a task is compiled.

They are small, and OpenBLAS's other threads go on waiting busily after each, where the engine that checks the artifact
needs the processor: a warm compile took several times as long. One thread also adds numbers up in one order, so that a
process with more of them writes the same bytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

FORMS = (("scipy_", "64_"), ("", "64_"), ("scipy_", ""), ("", ""))
"""What stands before and behind the names of OpenBLAS's functions in numpy's wheels, newest first."""


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenBLAS with one thread; where numpy was built with another library, nothing changes."""
    functions = _openblas()
    if functions is None or (before := functions[0]()) == 1:
        yield
        return
    functions[1](1)
    try:
        yield
    finally:
        functions[1](before)


@lru_cache(maxsize=1)
def _openblas() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """OpenBLAS's functions that tell and set its number of threads."""
    core = getattr(np, "_core", None) or np.core
    try:
        library = ctypes.CDLL(core._multiarray_umath.__file__)
    except OSError:
        return None
    for before, behind in FORMS:
        names = [f"{before}openblas_{verb}_num_threads{behind}" for verb in ("get", "set")]
        if all(hasattr(library, name) for name in names):
            return tuple(getattr(library, name) for name in names)
    return None
