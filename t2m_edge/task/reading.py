"""Reads a descriptions file in any of its forms."""

from __future__ import annotations

from pathlib import Path

from t2m_edge.task.description import MAX_CLASSES, Task
from t2m_edge.task.source import decode, read_bytes, read_stdin
from t2m_runtime.errors import InputError

FORMATS = (".txt", ".csv", ".json", ".yaml", ".yml")
STDIN = "-"


def read_task(path: str | Path, max_classes: int = MAX_CLASSES, min_classes: int = 2) -> Task:
    """Reads a task from a descriptions file; its ending says which form it has.

    Args:
        path: a .txt, .csv, .json, .yaml or .yml file, UTF-8, at most 16 MiB; "-" for the .txt form from standard input.
        max_classes: what the pack allows; min_classes: 1 where the classes join others.

    Raises:
        InputError: one line that names file, line, column, what was found and what to write instead.
    """
    if str(path) == STDIN:
        from t2m_edge.task.txt_format import parse_text

        return parse_text(decode(read_stdin(), "stdin"), "stdin", max_classes, min_classes)
    path = Path(path)
    suffix = path.suffix.casefold()
    data = read_bytes(path)
    if suffix not in FORMATS:
        found = f"the ending '{suffix}'" if suffix else "no ending"
        raise InputError(f"{path}: found {found}; name the file .txt, .csv, .json or .yaml")
    text = decode(data, str(path))
    if suffix == ".txt":
        from t2m_edge.task.txt_format import parse_text as parse
    elif suffix == ".csv":
        from t2m_edge.task.csv_format import parse_csv as parse
    elif suffix == ".json":
        from t2m_edge.task.json_format import parse_json as parse
    else:
        from t2m_edge.task.yaml_format import parse_yaml as parse
    return parse(text, str(path), max_classes, min_classes)
