"""The .json form. The standard module checks each string; places are kept, which `json.loads` would lose."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from json.decoder import scanstring

from t2m_edge.task.description import MAX_CLASSES, ClassDescription, Task
from t2m_edge.task.source import check_text, problem, quoted
from t2m_edge.task.tree import MAX_DEPTH, Node, task_from_tree

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD = re.compile(r"true|false|null")
_LINE_END = re.compile(r"\r\n|\n|\r")


def parse_json(text: str, source: str = "<json>", max_classes: int = MAX_CLASSES, min_classes: int = 2) -> Task:
    """Reads the .json form; raises InputError with line and column."""
    check_text(text, source)
    return task_from_tree(_Parser(text, source).parse(), source, max_classes, min_classes)


class _Parser:
    def __init__(self, text: str, source: str):
        self.text = text
        self.source = source
        self.starts = [0] + [match.end() for match in _LINE_END.finditer(text)]
        self.at = 0

    def parse(self) -> Node:
        root = self._value(1)
        self._skip()
        if self.at < len(self.text):
            raise self._error("end the file here; the first value was complete")
        return root

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def _error(self, write: str):
        line, column = self._place(self.at)
        rest = self.text[self.at : self.at + 20]
        return problem(self.source, line, column, quoted(rest, 12) if rest.strip() else "the end of the file", write)

    def _skip(self) -> str:
        """Moves over white space and gives the next character, or ''."""
        self.at = _SPACE.match(self.text, self.at).end()
        return self.text[self.at : self.at + 1]

    def _value(self, depth: int) -> Node:
        char = self._skip()
        line, column = self._place(self.at)
        if depth > MAX_DEPTH:
            raise self._error("write at most a list of classes that have lists of texts")
        if char == '"':
            return Node("text", self._string(), line, column)
        if char == "[":
            return Node("list", tuple(self._items("]", depth)), line, column)
        if char == "{":
            return Node("map", tuple(self._items("}", depth)), line, column)
        for kind, pattern in (("number", _NUMBER), ("word", _WORD)):
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                null = match[0] == "null"
                return Node("null" if null else kind, None if null else match[0], line, column)
        raise self._error("write a text in double quotes, a list [...] or keys {...}")

    def _string(self) -> str:
        try:
            value, self.at = scanstring(self.text, self.at + 1, True)
        except json.JSONDecodeError as error:
            line, column = self._place(min(error.pos, len(self.text)))
            raise problem(
                self.source, line, column, f"a broken string ({error.msg.rstrip(' at')})", "close and escape it"
            ) from None
        return value

    def _items(self, close: str, depth: int) -> Iterable[Node | tuple[Node, Node]]:
        self.at += 1
        if self._skip() == close:
            self.at += 1
            return
        while True:
            yield self._pair(depth) if close == "}" else self._value(depth + 1)
            char = self._skip()
            if char not in (",", close) or not char:
                raise self._error(f"write `,` or `{close}`")
            self.at += 1
            if char == close:
                return

    def _pair(self, depth: int) -> tuple[Node, Node]:
        if self._skip() != '"':
            raise self._error("write a key in double quotes")
        line, column = self._place(self.at)
        key = Node("text", self._string(), line, column)
        if self._skip() != ":":
            raise self._error("write `:` after the key")
        self.at += 1
        return key, self._value(depth + 1)


def format_json(classes: Iterable[ClassDescription]) -> str:
    """The .json form of the classes; `parse_json` gives them back."""
    return json.dumps(plain_mapping(classes), ensure_ascii=False, indent=2) + "\n"


def plain_mapping(classes: Iterable[ClassDescription]) -> dict[str, object]:
    """name -> null, a text, a list of texts, or the keys texts, not, threshold: the shortest that says it all."""
    mapping: dict[str, object] = {}
    for item in classes:
        if item.negatives or item.threshold is not None:
            fields: dict[str, object] = {}
            if item.texts:
                fields["texts"] = list(item.texts)
            if item.negatives:
                fields["not"] = list(item.negatives)
            if item.threshold is not None:
                fields["threshold"] = item.threshold
            mapping[item.name] = fields
        elif len(item.texts) == 1:
            mapping[item.name] = item.texts[0]
        else:
            mapping[item.name] = list(item.texts) or None
    return mapping
