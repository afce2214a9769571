"""What the study's commands share: options that are checked before the work, and one line for what is wrong.

Types of options below take the text that was given and say what was expected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

from t2m_edge.cli.main import guarded
from t2m_runtime import InputError


class Parser(argparse.ArgumentParser):
    """Options of ``python -m t2m_edge.evaluation.NAME`` ("" for the study itself), ``--debug`` among them.

    Wrong use is an InputError.
    """

    def __init__(self, name: str, description: str | None) -> None:
        super().__init__(
            prog=f"python -m t2m_edge.evaluation.{name}".rstrip("."),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("--debug", action="store_true", help="a traceback when something fails")

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def command(main: Callable[..., None]) -> Callable[..., None]:
    """A command that exits as ``t2m-edge`` does: 1 the work failed, 2 wrong use, 130 interrupted, one line for each."""

    @wraps(main)
    def run(*args: Any) -> None:
        def work() -> int:
            main(*args)
            return 0

        if code := guarded(work, "--debug" in sys.argv):
            raise SystemExit(code)

    return run


def folder(text: str) -> Path:
    """A folder that is there."""
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path


def own_folder(text: str) -> Path:
    """A folder that is made where it is not there."""
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a file; give a folder")
    return path


def file(text: str) -> Path:
    """A file that is there."""
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is no file")
    return path


def new_file(text: str) -> Path:
    """A file that can be written."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no file in a folder that is there")
    return path


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def share(text: str) -> float:
    """A number between 0 and 1."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return found


def some_of(known: tuple[str, ...], separator: str = ",") -> Callable[[str], list[str]]:
    """Names with a separator between them."""

    def names(text: str) -> list[str]:
        found = list(dict.fromkeys(name.strip() for name in text.split(separator)))
        if unknown := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is unknown; write some of {separator.join(known)}")
        return found

    return names
