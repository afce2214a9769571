"""Does the text encoder know the words of a task? A class of unknown words would be a guess."""

from __future__ import annotations

from t2m_edge.task import ClassDescription, Task
from t2m_edge.text import TextEncoder
from t2m_runtime import InputError


def check_words(task: Task, encoder: TextEncoder) -> list[str]:
    """Warnings for classes of which under half of the words are known, and for texts over the token limit.

    Raises:
        InputError: the encoder knows no word of a class.
    """
    warnings = []
    for description in task.classes:
        words = [pair for text in _texts(description) for pair in encoder.words(text)]
        unknown = list(dict.fromkeys(word for word, known in words if not known))
        where = f"{task.source}, line {description.line}: " if description.line else ""
        shown = ", ".join(repr(w) for w in unknown[:8]) + (" ..." if len(unknown) > 8 else "")
        if words and len(unknown) and not any(known for _, known in words):
            raise InputError(
                f"{where}class {description.name!r}: the text encoder knows none of its words ({shown}); "
                "describe it in plain English words"
            )
        if sum(not known for _, known in words) * 2 > len(words):
            warnings.append(
                f"{where}class {description.name!r}: the text encoder knows under half of its words "
                f"(not {shown}); describe it in plain English words"
            )
        warnings += [
            f"{where}class {description.name!r}: a text of {n} tokens is cut after {encoder.max_tokens}: {text[:40]!r}"
            for text in (*description.texts, *description.negatives)
            # A token is at least one character, so that most texts need no count.
            if len(text) > encoder.max_tokens and (n := encoder.token_count(text)) > encoder.max_tokens
        ]
    return warnings


def _texts(description: ClassDescription) -> tuple[str, ...]:
    return (description.name, *description.texts, *description.negatives)
