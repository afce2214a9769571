"""From bytes to checked text, and the wording of every error about a descriptions file."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path

from t2m_edge.task.description import (
    MAX_FILE_BYTES,
    MAX_NAME_LENGTH,
    MAX_TEXT_LENGTH,
    RESERVED,
    plain_name,
)
from t2m_runtime.errors import InputError
from t2m_runtime.manifest import NONE_LABEL

_LINE_END = re.compile(r"\r\n|\n|\r")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")


def problem(source: str, line: int | None, column: int | str | None, found: str, write: str) -> InputError:
    """The error for one place of a descriptions file.

    Args:
        source: the file as the user named it.
        line: from 1, or None for the file as a whole.
        column: from 1 in characters, or the name of a CSV column.
        found: what stands there.
        write: what to write instead.
    """
    place = source
    if line is not None:
        place += f", line {line}"
    if column is not None:
        place += f", column {column}"
    return InputError(f"{place}: found {found}; {write}")


def quoted(text: str, limit: int = 40) -> str:
    """Text as it may stand in a one-line message: shortened, no control characters."""
    text = _UNPRINTABLE.sub("?", " ".join(text[: limit + 1].split()))
    return f"'{text[:limit]}...'" if len(text) > limit else f"'{text}'"


def read_bytes(path: Path, what: str = "a descriptions file") -> bytes:
    """The file's bytes, refused before they are read when there are too many.

    Args:
        what: the file should be, for messages.
    """
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give {what}")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{path}: {size:,} bytes; {what} has at most {MAX_FILE_BYTES:,}; is this the right file?")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; give the path of {what}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"{path}: more than {MAX_FILE_BYTES:,} bytes; is this the right file?")
    return data


def read_stdin() -> bytes:
    """What standard input holds, refused when it is too much."""
    data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1) if sys.stdin else b""
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"stdin: more than {MAX_FILE_BYTES:,} bytes; is this the right text?")
    return data


def decode(data: bytes, source: str) -> str:
    """UTF-8 with or without a BOM; anything else is refused at its first wrong byte."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise problem(source, 1, 1, "UTF-16 text", "save the file as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        start = 3 if data.startswith(b"\xef\xbb\xbf") else 0
        at = error.start + (start if error.object is not data else 0)
        before = data[start:at].decode("utf-8", errors="replace")
        line, column = position(before, len(before))
        raise problem(source, line, column, f"byte 0x{data[at]:02x}", "save the file as UTF-8 text") from None


def check_text(text: str, source: str) -> None:
    """Refuses an empty file, control characters and lone surrogates."""
    if not text.strip():
        raise InputError(f"{source}: the file is empty; write one class a line, as in `zebra: black and white stripes`")
    bad = _UNPRINTABLE.search(text)
    if bad:
        line, column = position(text, bad.start())
        raise problem(source, line, column, f"control character U+{ord(bad[0]):04X}", "write plain text (UTF-8)")


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1, of a character offset."""
    line, start = 1, 0
    for end in _LINE_END.finditer(text, 0, offset):
        line, start = line + 1, end.end()
    return line, offset - start + 1


def split_lines(text: str) -> list[str]:
    """Lines at LF, CRLF or CR only; other Unicode separators are part of the text."""
    return _LINE_END.split(text)


def clean(text: str) -> str:
    """NFC, and every run of white space one space."""
    return unicodedata.normalize("NFC", " ".join(text.split()))


def _has_content(text: str) -> bool:
    return any(char.isprintable() and not char.isspace() for char in text)


def checked_name(raw: str, source: str, line: int, column: int | str) -> str:
    """A class name, cleaned; InputError when it is empty, too long, reserved or that of the rejecting class."""
    name = clean(raw)
    _refuse_unprintable(name, source, line, column)
    if not _has_content(name):
        raise problem(source, line, column, "no class name", "write a name, as in `zebra: black and white stripes`")
    if len(name) > MAX_NAME_LENGTH:
        raise problem(
            source,
            line,
            column,
            f"a class name of {len(name):,} characters",
            f"write a short name (at most {MAX_NAME_LENGTH}), then a colon, then the text",
        )
    if name.casefold() in RESERVED:
        raise problem(
            source,
            line,
            column,
            f"{quoted(name)} as a class name",
            f"write it after a class, as in `horse: a large animal; {name.casefold()}: "
            f"{'stripes' if name.casefold() == 'not' else '0.6'}`, or choose another name",
        )
    refuse_none_label(name, source, line, column)
    return name


def refuse_none_label(name: str, source: str, line: int | None = None, column: int | str | None = None) -> None:
    """Raises InputError for the name, in any spelling, of the class that makes a model reject photos."""
    if plain_name(name) == NONE_LABEL:
        found = f"{quoted(name)} as a class name"
        raise problem(source, line, column, found, "choose another; this is the class that compile --reject adds")


def checked_item(raw: str, source: str, line: int, column: int | str) -> str:
    """A positive or negative text, cleaned; InputError when it is empty or too long."""
    text = clean(raw)
    _refuse_unprintable(text, source, line, column)
    if not _has_content(text):
        raise problem(source, line, column, "an empty text", "write a text here, or take the separator away")
    if len(text) > MAX_TEXT_LENGTH:
        raise problem(
            source,
            line,
            column,
            f"a text of {len(text):,} characters",
            f"write several texts of at most {MAX_TEXT_LENGTH:,} characters each",
        )
    return text


def checked_threshold(raw: str, source: str, line: int, column: int | str) -> float:
    """A score from 0 to 1."""
    text = raw.strip()
    value = float(text) if len(text) < 40 and text.isascii() and _NUMBER.fullmatch(text) else None
    if value is None or not 0 <= value <= 1:
        raise problem(source, line, column, f"threshold {quoted(text)}", "write a number from 0 to 1, such as 0.6")
    return value


def _refuse_unprintable(text: str, source: str, line: int, column: int | str) -> None:
    bad = _UNPRINTABLE.search(text)
    if bad:
        raise problem(source, line, column, f"control character U+{ord(bad[0]):04X}", "write plain text")
