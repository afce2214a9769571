"""What the study has measured, one JSON line a result, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

Key = dict[str, Any]
"""Everything that a result depends on, as JSON: kind, data, features, texts, method, settings, seed."""


class ResultFile:
    """Results by key, in memory and in a file that grows by a line for each.

    The code of the methods is not part of a key: delete the file after changing one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, Any] = {}
        text = path.read_text("utf-8") if path.exists() else ""
        self._unfinished = bool(text) and not text.endswith("\n")
        for line in text.splitlines():
            with contextlib.suppress(ValueError):  # what a killed run left of a line is measured again
                entry = json.loads(line)
                self._found[_text(entry["key"])] = entry["result"]

    def get(self, key: Key) -> Any | None:
        """The result, or None where it was not measured."""
        return self._found.get(_text(key))

    def add(self, key: Key, result: Any) -> None:
        """Keep a result, in the file as well."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" * self._unfinished + json.dumps({"key": key, "result": result}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._unfinished = False
        self._found[_text(key)] = json.loads(json.dumps(result))


def _text(key: Key) -> str:
    return json.dumps(key, sort_keys=True)
