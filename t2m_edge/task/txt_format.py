r"""The .txt form: `name: text; text; not: text; threshold: 0.6`, one class a line.

`\:` and `\;` are the characters themselves, `\\` is a backslash and `\#` a leading hash sign; a backslash before
anything else is a backslash.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from t2m_edge.task.checks import ClassCounter, finished_task
from t2m_edge.task.description import MAX_CLASSES, MAX_TEXTS_PER_CLASS, RESERVED, ClassDescription, Task
from t2m_edge.task.source import (
    check_text,
    checked_item,
    checked_name,
    checked_threshold,
    problem,
    quoted,
    split_lines,
)

_ESCAPE = re.compile(r"\\([:;#\\])")
_COLON = re.compile(r"(?:[^\\:]|\\.|\\$)*?:", re.DOTALL)
_JOINED_KEY = re.compile(rf"\b(?:{'|'.join(RESERVED)}) ?:$", re.IGNORECASE)
_ITEM = re.compile(r"(?:[^\\;]|\\.|\\$)*", re.DOTALL)


def parse_text(text: str, source: str = "<text>", max_classes: int = MAX_CLASSES, min_classes: int = 2) -> Task:
    """Reads the .txt form.

    Args:
        text: the file's text; a BOM must be gone.
        source: the name that errors give.
        max_classes: what the pack allows; min_classes: 1 where the classes join others.

    Raises:
        InputError: with line and column.
    """
    check_text(text, source)
    counter = ClassCounter(source, max_classes)
    for number, line in enumerate(split_lines(text), start=1):
        stripped = line.lstrip()
        if stripped and not stripped.startswith("#"):
            counter.add(_parse_line(line, source, number), column=len(line) - len(stripped) + 1)
    return finished_task(counter.classes, source, min_classes)


def _parse_line(line: str, source: str, number: int) -> ClassDescription:
    colon = _COLON.match(line)
    raw_name = line[: colon.end() - 1] if colon else line
    column = len(line) - len(line.lstrip()) + 1
    if colon is None and ";" in _ESCAPE.sub("", line):
        raise problem(
            source,
            number,
            line.index(";") + 1,
            "';' in a line with no colon",
            "write `name: text; text`, or `\\;` for a semicolon in the name",
        )
    name = checked_name(_unescape(raw_name), source, number, column)
    if colon is None:
        return ClassDescription(name, line=number)
    if not line[colon.end() :].strip():
        raise problem(
            source,
            number,
            colon.end(),
            "a colon with no text after it",
            f"write `{escape(name)}` alone, or say what it looks like after the colon",
        )
    texts: list[str] = []
    negatives: list[str] = []
    threshold = None
    for offset, item in _split_items(line, colon.end()):
        key, value, at = _split_key(item, offset, source, number)
        if key == "threshold":
            if threshold is not None:
                raise problem(source, number, at + 1, "a second threshold", "keep one")
            threshold = checked_threshold(_unescape(value), source, number, at + 1)
        else:
            (negatives if key == "not" else texts).append(checked_item(_unescape(value), source, number, at + 1))
        if len(texts) + len(negatives) > MAX_TEXTS_PER_CLASS:
            raise problem(source, number, at + 1, f"more than {MAX_TEXTS_PER_CLASS:,} texts", "keep the best ones")
    return ClassDescription(name, tuple(texts), tuple(negatives), threshold, number)


def _split_items(line: str, start: int) -> Iterable[tuple[int, str]]:
    """(offset in the line, raw item) between unescaped semicolons."""
    while start <= len(line):
        end = _ITEM.match(line, start).end()
        yield start, line[start:end]
        start = end + 1


def _split_key(item: str, offset: int, source: str, number: int) -> tuple[str | None, str, int]:
    """(reserved key or None, raw value, offset of the value's first character)."""
    lead = len(item) - len(item.lstrip())
    colon = _COLON.match(item)
    if colon is None:
        return None, item, offset + lead
    key = item[: colon.end() - 1].strip().casefold()
    if key in RESERVED:
        value = item[colon.end() :]
        return key, value, offset + colon.end() + len(value) - len(value.lstrip())
    if joined := _JOINED_KEY.search(item, 0, colon.end()):
        found = f"{quoted(joined[0])} inside a text"
        raise problem(source, number, offset + joined.start() + 1, found, f"put `;` before `{joined[0]}`")
    if guess := difflib.get_close_matches(key[:40], RESERVED, n=1, cutoff=0.7):
        write = f"write `{guess[0]}:`"
    else:
        write = "write `\\:` for a colon inside a text (the keys are not, threshold)"
    raise problem(source, number, offset + lead + 1, f"{quoted(key + ':')} as a key", write)


def _unescape(raw: str) -> str:
    return _ESCAPE.sub(r"\1", raw)


def escape(text: str) -> str:
    """Text as it is written in the .txt form."""
    text = text.replace("\\", "\\\\").replace(":", "\\:").replace(";", "\\;")
    return "\\" + text if text.startswith("#") else text


def format_line(description: ClassDescription) -> str:
    """One class as a line of the .txt form."""
    items = [escape(text) for text in description.texts]
    items += [f"not: {escape(text)}" for text in description.negatives]
    if description.threshold is not None:
        items.append(f"threshold: {description.threshold!r}")
    name = escape(description.name)
    return f"{name}: {'; '.join(items)}" if items else name


def format_text(classes: Iterable[ClassDescription]) -> str:
    """The .txt form of the classes; `parse_text` gives them back."""
    return "".join(format_line(description) + "\n" for description in classes)
