"""Does the text encoder know the words of a task? A class of unknown words would be a guess."""

from __future__ import annotations

from t2m_edge.task import ClassDescription, Task
from t2m_edge.text import TextEncoder
from t2m_runtime import InputError

SHOWN = 5
"""Classes of unknown words that one error names."""


def check_words(task: Task, encoder: TextEncoder) -> tuple[list[str], tuple[str, ...]]:
    """(warnings, names of the classes of which under half of the words are known).

    The warnings are for these classes, for texts of which no word is known, and for texts over the token limit.

    Raises:
        InputError: the encoder knows no word of a class, as of one that is written in another script or in signs alone.
    """
    warnings, little_known, unknown_classes = [], [], []
    for description in task.classes:
        by_text = [(text, encoder.words(text)) for text in _texts(description)]
        words = [pair for _, pairs in by_text for pair in pairs]
        if not any(met for _, met in words):
            unknown_classes.append(description)
            continue
        where = f"{_place(task, description)}class {description.name!r}: "
        if sum(not met for _, met in words) * 2 > len(words):
            little_known.append(description.name)
            warnings.append(
                f"{where}the text encoder knows under half of its words (not {_shown(words)}); "
                "describe it in plain English words"
            )
        else:
            warnings += [
                f"{where}the text encoder knows no word of the text {text[:40]!r}; write it in plain English words"
                for text, pairs in by_text[1:]
                if not any(met for _, met in pairs)
            ]
        warnings += [
            f"{where}a text of {n} tokens is cut after {encoder.max_tokens}: {text[:40]!r}"
            for text in (*description.texts, *description.negatives)
            # A token is at least one character, so that most texts need no count.
            if len(text) > encoder.max_tokens and (n := encoder.token_count(text)) > encoder.max_tokens
        ]
    if unknown_classes:
        raise InputError(_unknown(task, unknown_classes, encoder))
    return warnings, tuple(little_known)


def _unknown(task: Task, classes: list[ClassDescription], encoder: TextEncoder) -> str:
    """What to tell of classes without a known word."""
    if len(classes) == 1:
        words = [pair for text in _texts(classes[0]) for pair in encoder.words(text)]
        shown = f" ({_shown(words)})" if words else ""
        return (
            f"{_place(task, classes[0])}class {classes[0].name!r}: the text encoder knows none of its words{shown}; "
            "describe it in plain English words"
        )
    lines = [f"{c.name!r}" + (f" (line {c.line})" if c.line else "") for c in classes[:SHOWN]]
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return (
        f"{task.source or task.name}: the text encoder knows no word of the classes {', '.join(lines)}{more}; "
        "describe them in plain English words"
    )


def _shown(words: list[tuple[str, bool]]) -> str:
    """The unknown ones of the words, the first eight."""
    unknown = list(dict.fromkeys(word for word, met in words if not met))
    return ", ".join(repr(w) for w in unknown[:8]) + (" ..." if len(unknown) > 8 else "")


def _place(task: Task, description: ClassDescription) -> str:
    return f"{task.source}, line {description.line}: " if description.line else ""


def _texts(description: ClassDescription) -> tuple[str, ...]:
    return (description.name, *description.texts, *description.negatives)
