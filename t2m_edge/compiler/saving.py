"""Files that appear whole or not at all, and never replace one unasked."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from t2m_runtime import InputError


def check_output(path: Path, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Raises InputError where a file may not be written: above all, ``inputs`` are not replaced by what they make."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the file to write with -o")
    if path.exists() and any(given.exists() and path.samefile(given) for given in inputs):
        raise InputError(f"{path} is what this reads, so it is not replaced; give another name with -o")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give another name with -o, or --overwrite")
    if not path.parent.is_dir():
        raise InputError(f"the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} cannot be written to; choose another with -o")


def save(path: Path, data: bytes, overwrite: bool) -> None:
    """Write ``data`` to a file beside ``path`` and move it there."""
    with written_aside(path, data, overwrite) as move:
        move()


@contextmanager
def written_aside(path: Path, data: bytes, overwrite: bool) -> Iterator[Callable[[], None]]:
    """``data`` in a file beside ``path``, and a function that moves it there; without a call of it nothing is left."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    aside = Path(name)

    def move() -> None:
        check_output(path, overwrite)
        os.replace(aside, path)

    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        aside.chmod(0o666 & ~_umask())
        yield move
    finally:
        aside.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
