"""Tasks: reading, checking and writing class descriptions."""

from t2m_edge.task.description import MAX_CLASSES, ClassDescription, Task
from t2m_edge.task.reading import read_task

__all__ = [
    "MAX_CLASSES",
    "ClassDescription",
    "Task",
    "format_csv",
    "format_json",
    "format_text",
    "format_yaml",
    "parse_csv",
    "parse_json",
    "parse_text",
    "parse_yaml",
    "read_task",
]

_HOMES = {"text": "txt_format", "csv": "csv_format", "json": "json_format", "yaml": "yaml_format"}


def __getattr__(name: str) -> object:
    # Imported on first use: a task has one form, and compile is over in less time than all of them take to import.
    verb, _, form = name.partition("_")
    if verb not in ("format", "parse") or form not in _HOMES:
        raise AttributeError(f"module 't2m_edge.task' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"t2m_edge.task.{_HOMES[form]}"), name)
