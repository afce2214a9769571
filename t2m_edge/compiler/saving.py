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
    check_regular(path)
    if path.exists() and any(given.exists() and path.samefile(given) for given in inputs):
        raise InputError(f"{path} is what this reads, so it is not replaced; give another name with -o")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give another name with -o, or --overwrite")
    folder = behind_links(path).parent
    if not folder.is_dir():
        raise InputError(f"the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise InputError(f"the folder {folder} cannot be written to; choose another with -o")


def check_regular(path: Path) -> None:
    """Raises InputError unless a path leads to a regular file, or to a place where one can be made."""
    if str(path) == "-":
        raise InputError("- stands for standard output, where no files are written; give a file's name")
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the file to write with -o")
        # A link to itself leads to no file, but is there.
        there = path.exists() or behind_links(path).is_symlink()
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); give another name") from None
    if there and not path.is_file():
        raise InputError(f"{path} is no regular file, so it is not replaced; give another name")


def behind_links(path: Path) -> Path:
    """The file that a symbolic link leads to, there or not; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def save(path: Path, data: bytes, overwrite: bool) -> None:
    """Write ``data`` to a file beside ``path`` and move it there; what a link leads to is written, the link stays."""
    with written_aside(path, data, overwrite) as move:
        move()


@contextmanager
def written_aside(path: Path, data: bytes, overwrite: bool) -> Iterator[Callable[[], None]]:
    """``data`` in a file beside ``path``, and a function that moves it there; without a call of it nothing is left."""
    place = behind_links(path)
    with _named(path):
        # The name is short: any that the file system takes for ``path`` leaves room for it.
        handle, name = tempfile.mkstemp(prefix=".t2m-edge-", dir=place.parent)
    aside = Path(name)

    def move() -> None:
        check_output(path, overwrite)
        with _named(path):
            os.replace(aside, place)

    try:
        with _named(path), os.fdopen(handle, "wb") as file:
            file.write(data)
        aside.chmod(0o666 & ~_umask())
        yield move
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Puts the file that was asked for into an error of the system, in place of the one beside it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
