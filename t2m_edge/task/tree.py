"""What .json and .yaml say once they are parsed: a tree whose nodes know their line and column.

Either a mapping `name: description`, or a list. A description is one text, a list of texts, null for a bare name, or
a mapping with the keys texts, not, threshold (and name, in a list).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from t2m_edge.task.checks import ClassCounter, finished_task
from t2m_edge.task.description import MAX_TEXTS_PER_CLASS, ClassDescription, Task
from t2m_edge.task.source import checked_item, checked_name, checked_threshold, problem, quoted

MAX_DEPTH = 4
"""list -> class -> texts -> text; anything deeper is refused while it is parsed."""

_KINDS = {"text": "a text", "number": "a number", "null": "nothing", "word": "a word", "list": "a list", "map": "keys"}


@dataclass(frozen=True)
class Node:
    """One value of the file.

    Attributes:
        kind: text, number, word (true, false), null, list or map.
        value: str for text, number and word; tuple of Node for a list; tuple of (Node, Node) for a map; else None.
        line: from 1.
        column: from 1.
    """

    kind: str
    value: str | tuple | None
    line: int
    column: int


def task_from_tree(root: Node, source: str, max_classes: int, min_classes: int = 2) -> Task:
    """The task in a parsed .json or .yaml file; raises InputError with line and column."""
    counter = ClassCounter(source, max_classes)
    if root.kind == "map":
        for key, value in root.value:
            name = checked_name(key.value, source, key.line, key.column)
            counter.add(_description(name, key, value, source), column=key.column)
    elif root.kind == "list":
        for node in root.value:
            counter.add(_list_entry(node, source), column=node.column)
    else:
        raise _wrong(root, source, "write a mapping `name: text`, or a list of classes")
    return finished_task(counter.classes, source, min_classes)


def _list_entry(node: Node, source: str) -> ClassDescription:
    if node.kind == "text":
        return ClassDescription(checked_name(node.value, source, node.line, node.column), line=node.line)
    if node.kind != "map":
        raise _wrong(node, source, "write a class name, or a mapping with the keys name, texts, not, threshold")
    fields = _fields(node, source, ("name", "texts", "not", "threshold"))
    name = fields.get("name")
    if name is None:
        raise problem(source, node.line, node.column, "a class with no key 'name'", "add `name`")
    if name.kind != "text":
        raise _wrong(name, source, "write the class name as a text")
    return _from_fields(checked_name(name.value, source, name.line, name.column), node, fields, source)


def _description(name: str, key: Node, value: Node, source: str) -> ClassDescription:
    if value.kind == "null":
        return ClassDescription(name, line=key.line)
    if value.kind in ("text", "list"):
        return ClassDescription(name, _texts(value, source), line=key.line)
    if value.kind == "map":
        return _from_fields(name, key, _fields(value, source, ("texts", "not", "threshold")), source)
    raise _wrong(value, source, "write a text, a list of texts, or the keys texts, not, threshold")


def _from_fields(name: str, at: Node, fields: dict[str, Node], source: str) -> ClassDescription:
    texts = _texts(fields["texts"], source) if "texts" in fields else ()
    negatives = _texts(fields["not"], source) if "not" in fields else ()
    node = fields.get("threshold")
    threshold = None
    if node is not None and node.kind != "null":
        if node.kind not in ("number", "text"):
            raise _wrong(node, source, "write a number from 0 to 1, such as 0.6")
        threshold = checked_threshold(node.value, source, node.line, node.column)
    return ClassDescription(name, texts, negatives, threshold, at.line)


def _fields(node: Node, source: str, allowed: tuple[str, ...]) -> dict[str, Node]:
    fields: dict[str, Node] = {}
    for key, value in node.value:
        if key.value not in allowed:
            guess = difflib.get_close_matches(key.value[:40], allowed, n=1)
            write = f"write {guess[0]}" if guess else f"the keys are {', '.join(allowed)}"
            raise problem(source, key.line, key.column, f"the key {quoted(key.value)}", write)
        if key.value in fields:
            raise problem(source, key.line, key.column, f"a second key {quoted(key.value)}", "keep one")
        fields[key.value] = value
    return fields


def _texts(node: Node, source: str) -> tuple[str, ...]:
    if node.kind == "null":
        return ()
    items = node.value if node.kind == "list" else (node,)
    if len(items) > MAX_TEXTS_PER_CLASS:
        found = f"{len(items):,} texts"
        raise problem(source, node.line, node.column, found, f"keep the best {MAX_TEXTS_PER_CLASS:,}")
    for item in items:
        if item.kind != "text":
            raise _wrong(item, source, "write a text (in double quotes)")
    return tuple(checked_item(item.value, source, item.line, item.column) for item in items)


def _wrong(node: Node, source: str, write: str) -> Exception:
    found = _KINDS[node.kind] + (f" {quoted(node.value)}" if isinstance(node.value, str) else "")
    return problem(source, node.line, node.column, found, write)
