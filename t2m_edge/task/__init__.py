"""Tasks: reading, checking and writing class descriptions."""

from t2m_edge.task.csv_format import format_csv, parse_csv
from t2m_edge.task.description import MAX_CLASSES, ClassDescription, Task
from t2m_edge.task.json_format import format_json, parse_json
from t2m_edge.task.reading import read_task
from t2m_edge.task.txt_format import format_text, parse_text
from t2m_edge.task.yaml_format import format_yaml, parse_yaml

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
