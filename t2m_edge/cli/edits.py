"""What merge, add, remove and rename print."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from t2m_edge.cli.output import count_classes, print_json, say, warn

if TYPE_CHECKING:
    from t2m_edge.compiler.editing import EditReport


def say_edit(command: str, report: EditReport, json: bool) -> None:
    """One line, or the JSON document."""
    from t2m_runtime.manifest import NONE_LABEL

    if json:
        print_json(command, asdict(report))
        return
    checked = "" if report.self_test_error is None else f", self-test right (off by {report.self_test_error:.2g})"
    warn(report.warnings)
    none = NONE_LABEL in report.labels
    classes = count_classes(len(report.labels) - none, none)
    say(f"{report.output}: {classes}, {report.size_bytes:,} bytes{checked}")
