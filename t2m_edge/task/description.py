"""What a task is: an ordered list of class descriptions."""

from __future__ import annotations

from dataclasses import dataclass

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_CLASSES = 1000
MAX_NAME_LENGTH = 200
MAX_TEXT_LENGTH = 4000
MAX_TEXTS_PER_CLASS = 1000
RESERVED = ("not", "threshold")
"""Keys of an item; no class may be called so, because `not: stripes` on a line of its own is a slip."""

_SPACES = str.maketrans("_-+", "   ")


def plain_name(name: str) -> str:
    """What two spellings of a class's name share: "Red-Bell_Pepper" and "red bell pepper" are "red bell pepper"."""
    return " ".join(name.casefold().translate(_SPACES).split())


@dataclass(frozen=True)
class ClassDescription:
    """One class.

    Attributes:
        name: the label that the classifier gives; unique in the task.
        texts: what the class looks like; empty for a bare class name, which then speaks for itself.
        negatives: what it does not look like (the `not:` texts).
        threshold: the smallest score in [0, 1] that counts as this class; None leaves it to the pack.
        line: line of the descriptions file, from 1; None where there is no file.
    """

    name: str
    texts: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    threshold: float | None = None
    line: int | None = None


@dataclass(frozen=True)
class Task:
    """The classes that one classifier must tell apart, in the order of the file.

    Attributes:
        name: the file's name without its ending.
        classes: at least two.
        source: the path, as it was given.
        warnings: one line each; nothing in them stops a compile.
    """

    name: str
    classes: tuple[ClassDescription, ...]
    source: str = ""
    warnings: tuple[str, ...] = ()
