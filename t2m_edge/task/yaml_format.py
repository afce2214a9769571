"""The .yaml form, read from libyaml's event stream.

Events, because they carry line and column, keep every scalar as it was written (a class called `no` or `1.0` stays
text) and let depth, tags and aliases be refused before anything is built. PyYAML is imported only here.
"""

from __future__ import annotations

from collections.abc import Iterable

from t2m_edge.task.description import MAX_CLASSES, ClassDescription, Task
from t2m_edge.task.json_format import plain_mapping
from t2m_edge.task.source import check_text, problem, quoted
from t2m_edge.task.tree import MAX_DEPTH, Node, task_from_tree

_NULLS = ("", "~", "null", "Null", "NULL")


def parse_yaml(text: str, source: str = "<yaml>", max_classes: int = MAX_CLASSES, min_classes: int = 2) -> Task:
    """Reads the .yaml form; raises InputError with line and column."""
    import yaml

    check_text(text, source)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = _read_document(yaml.parse(text, Loader=loader), source)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        what = error.problem or error.context or "a slip"
        raise problem(
            source, line, column, f"no valid YAML ({what})", "put a text with `: ` or `#` in double quotes"
        ) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", None) or "unreadable"
        raise problem(source, None, None, f"no valid YAML ({reason})", "write plain text (UTF-8)") from None
    return task_from_tree(root, source, max_classes, min_classes)


def _read_document(events: Iterable, source: str) -> Node:
    """The tree of the one document, built with a stack as deep as MAX_DEPTH."""
    import yaml

    stack: list[tuple[Node, list[Node]]] = []
    root = None
    for event in events:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, yaml.DocumentStartEvent) and root is not None:
            raise problem(source, line, column, "a second document", "keep one, without `---` between classes")
        if isinstance(event, yaml.AliasEvent):
            raise problem(source, line, column, f"the alias {quoted('*' + event.anchor)}", "write the text out")
        if isinstance(event, yaml.NodeEvent) and event.tag is not None:
            raise problem(source, line, column, f"the tag {quoted(event.tag)}", "write the text without a tag")
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if len(stack) >= MAX_DEPTH:
                raise problem(source, line, column, "one more level", "write at most classes that have lists of texts")
            kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
            stack.append((Node(kind, None, line, column), []))
            continue
        if isinstance(event, yaml.ScalarEvent):
            null = not event.style and event.value in _NULLS
            node = Node("null" if null else "text", None if null else event.value, line, column)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            opened, children = stack.pop()
            node = _closed(opened, children, source)
        else:
            continue
        if stack:
            stack[-1][1].append(node)
        else:
            root = node
    if root is None:
        raise problem(source, None, None, "no document", "write `name: text`, one class a line")
    return root


def _closed(opened: Node, children: list[Node], source: str) -> Node:
    value: tuple = tuple(children)
    if opened.kind == "map":
        for key in children[::2]:
            if key.kind != "text":
                raise problem(source, key.line, key.column, "a key that is no text", "write a name (in double quotes)")
        value = tuple(zip(children[::2], children[1::2]))
    return Node(opened.kind, value, opened.line, opened.column)


def format_yaml(classes: Iterable[ClassDescription]) -> str:
    """The .yaml form of the classes; `parse_yaml` gives them back."""
    import yaml

    return yaml.safe_dump(plain_mapping(classes), allow_unicode=True, sort_keys=False, width=10_000)
