"""What commands print: JSON documents and tables on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

SCHEMA_VERSION = 1
Item = TypeVar("Item")


def print_json(command: str, facts: dict[str, Any]) -> None:
    """One JSON document with schema_version and command first; numbers that are not finite become null."""
    document = {"schema_version": SCHEMA_VERSION, "command": command, **facts}
    print(json.dumps(_plain(document), ensure_ascii=not _writes_unicode(), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value


def _writes_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").casefold().replace("-", "") == "utf8"


def say(text: str = "") -> None:
    """A line on stdout; characters that the terminal's encoding lacks become '?', control characters too."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(printable(text).encode(encoding, errors="replace").decode(encoding))


def count_classes(count: int, none: bool = False) -> str:
    """ "1 class", "4 classes"; none: whether there is "none of these" beside them."""
    return f"{count} class{'' if count == 1 else 'es'}" + (" and 'none of these'" if none else "")


def printable(text: str) -> str:
    """Text without control characters, so that a file name cannot drive the terminal."""
    return "".join(char if unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") else "?" for char in text)


def warn(warnings: Iterable[str]) -> None:
    """Warnings, one line each, on stderr."""
    for text in warnings:
        print(f"warning: {printable(text)}", file=sys.stderr)


def say_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Columns as wide as their content.

    Args:
        header: column names.
        rows: cells, as many in each row as in the header.
        right: indices of the columns that are aligned right (numbers).
    """
    lines = [list(map(printable, row)) for row in [header, *rows]]
    widths = [max(_width(row[column]) for row in lines) for column in range(len(header))]
    for line in lines:
        cells = []
        for column, cell in enumerate(line):
            space = " " * (widths[column] - _width(cell))
            cells.append(space + cell if column in right else cell + space)
        say("  ".join(cells).rstrip())


def _width(text: str) -> int:
    """Columns of a terminal: wide East Asian characters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def with_progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, with a counter on stderr where that is a terminal and there are many."""
    shown = sys.stderr.isatty() and len(items) > 20
    for number, item in enumerate(items, start=1):
        yield item
        if shown and (number % 10 == 0 or number == len(items)):
            end = "\n" if number == len(items) else ""
            print(f"\r{what} {number:,} of {len(items):,}", end=end, file=sys.stderr, flush=True)


def quoted_names(names: Sequence[str], most: int = 10) -> str:
    """The first names, quoted, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
