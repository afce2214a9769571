"""What merge, add, remove and rename print."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from t2m_edge.cli.output import print_json, say

if TYPE_CHECKING:
    from t2m_edge.compiler.editing import EditReport


def say_edit(command: str, report: EditReport, json: bool) -> None:
    """One line, or the JSON document."""
    if json:
        print_json(command, asdict(report))
        return
    checked = "" if report.self_test_error is None else f", self-test right (off by {report.self_test_error:.2g})"
    say(f"{report.output}: {len(report.labels)} classes, {report.size_bytes:,} bytes{checked}")
