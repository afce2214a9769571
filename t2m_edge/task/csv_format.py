r"""The .csv form: a header `name,texts,not,threshold`, one class a row.

Several texts of one cell are separated by `;`, with `\;` for the character itself. Only `name` must be there. The
separator may be a comma, a semicolon or a tab, whichever the header uses.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable

from t2m_edge.task.checks import ClassCounter, finished_task
from t2m_edge.task.description import MAX_CLASSES, MAX_TEXTS_PER_CLASS, ClassDescription, Task
from t2m_edge.task.source import check_text, checked_item, checked_name, checked_threshold, problem, quoted

COLUMNS = ("name", "texts", "not", "threshold")
_SEPARATOR = re.compile(r"[,;\t]")
_ITEM = re.compile(r"(?:[^\\;]|\\.|\\$)*", re.DOTALL)
_ESCAPE = re.compile(r"\\([;\\])")


def parse_csv(text: str, source: str = "<csv>", max_classes: int = MAX_CLASSES, min_classes: int = 2) -> Task:
    """Reads the .csv form; raises InputError with line and column name."""
    check_text(text, source)
    rows = _rows(text, source)
    header_line, header = next(rows, (1, []))
    columns = _checked_header(header, source, header_line)
    counter = ClassCounter(source, max_classes)
    for line, row in rows:
        if len(row) > len(columns):
            raise problem(
                source,
                line,
                len(columns) + 1,
                f"{len(row)} cells where the header has {len(columns)}",
                'put a text that has a comma in double quotes, as in "a large deer, brown"',
            )
        cells = dict(zip(columns, row))
        counter.add(_parse_row(cells, source, line), column="'name'")
    return finished_task(counter.classes, source, min_classes)


def _rows(text: str, source: str) -> Iterable[tuple[int, list[str]]]:
    """(line on which the row starts, cells), rows without content left out."""
    first = next(line for line in io.StringIO(text) if line.strip())
    separator = _SEPARATOR.search(first)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator[0] if separator else ",", strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise problem(
                source,
                line,
                None,
                f"a row that is not CSV ({error})",
                'put texts in double quotes and write "" for a double quote inside one',
            ) from None
        if any(cell.strip() for cell in row):
            yield line, row


def _checked_header(header: list[str], source: str, line: int) -> list[str]:
    columns = [cell.strip().casefold() for cell in header]
    wanted = "make the first line `name,texts,not,threshold`"
    if "name" not in columns:
        raise problem(source, line, None, f"no column 'name' in the header {quoted(','.join(header))}", wanted)
    for index, column in enumerate(columns):
        if column not in COLUMNS:
            guess = difflib.get_close_matches(column[:40], COLUMNS, n=1)
            hint = f"write {guess[0]}" if guess else wanted
            raise problem(source, line, index + 1, f"the column {quoted(column)}", hint)
        if column in columns[:index]:
            raise problem(source, line, index + 1, f"a second column {quoted(column)}", "keep one")
    return columns


def _parse_row(cells: dict[str, str], source: str, line: int) -> ClassDescription:
    name = checked_name(cells["name"], source, line, "'name'")
    texts = _split_cell(cells.get("texts", ""), source, line, "'texts'")
    negatives = _split_cell(cells.get("not", ""), source, line, "'not'")
    raw = cells.get("threshold", "").strip()
    threshold = checked_threshold(raw, source, line, "'threshold'") if raw else None
    return ClassDescription(name, texts, negatives, threshold, line)


def _split_cell(cell: str, source: str, line: int, column: str) -> tuple[str, ...]:
    if not cell.strip():
        return ()
    items: list[str] = []
    start = 0
    while start <= len(cell):
        end = _ITEM.match(cell, start).end()
        items.append(checked_item(_ESCAPE.sub(r"\1", cell[start:end]), source, line, column))
        start = end + 1
        if len(items) > MAX_TEXTS_PER_CLASS:
            raise problem(source, line, column, f"more than {MAX_TEXTS_PER_CLASS:,} texts", "keep the best ones")
    return tuple(items)


def format_csv(classes: Iterable[ClassDescription]) -> str:
    """The .csv form of the classes; `parse_csv` gives them back."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for item in classes:
        threshold = "" if item.threshold is None else repr(item.threshold)
        writer.writerow([item.name, _join_cell(item.texts), _join_cell(item.negatives), threshold])
    return out.getvalue()


def _join_cell(texts: tuple[str, ...]) -> str:
    return "; ".join(text.replace("\\", "\\\\").replace(";", "\\;") for text in texts)
