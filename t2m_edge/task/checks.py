"""What must hold for a task as a whole, and what deserves a warning."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from t2m_edge.task.description import ClassDescription, Task, plain_name
from t2m_edge.task.source import problem, quoted
from t2m_runtime.errors import InputError

NEAR_IDENTICAL = 0.9
"""Two descriptions are near-identical when their words' Jaccard index is at least this."""

MAX_PROPOSALS = 50
"""Classes whose line is written anew in a warning; the others are counted."""
MAX_NEGATIONS = 8
"""Negations of one text that a proposal moves; a text with more is better written by hand."""

_WORD = re.compile(r"\w+")
_NEGATION = re.compile(r"\b(?:not|no|without|never)\b", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[,.;:!?()]|\b(?:but|though|although|however|not|no|without|never)\b", re.IGNORECASE)
_EMPTY_BRACKETS = re.compile(r"\s*\(\W*\)")
_LEAD = re.compile(r"^(?:(?:any|a|an|the|at all|visible|have|has|having|with|be|been|of)\s+)+", re.IGNORECASE)
_TAIL = re.compile(
    r"(?:[\s,]+(?:and|or|nor|but|at all|that|which|it|they|with|has|have|had|having"
    r"|is|are|was|were|be|does|do|did|can|a|an|the))+$",
    re.IGNORECASE,
)


class ClassCounter:
    """Collects the classes of one file and refuses the first that is one too many or has a name already used."""

    def __init__(self, source: str, max_classes: int):
        self.source = source
        self.max_classes = max_classes
        self.classes: list[ClassDescription] = []
        self._lines: dict[str, int | None] = {}

    def add(self, description: ClassDescription, column: int | str | None) -> None:
        if len(self.classes) == self.max_classes:
            raise problem(
                self.source,
                description.line,
                column,
                f"class number {self.max_classes + 1:,}",
                f"keep at most {self.max_classes:,} classes (what the pack allows)",
            )
        if description.name in self._lines:
            raise problem(
                self.source,
                description.line,
                column,
                f"the name {quoted(description.name)} a second time (first in line {self._lines[description.name]})",
                "give each class its own name, or put all texts behind one name",
            )
        self._lines[description.name] = description.line
        self.classes.append(description)


def finished_task(classes: Sequence[ClassDescription], source: str, min_classes: int = 2) -> Task:
    """The task with its warnings; InputError when it has too few classes."""
    if len(classes) < min_classes:
        found = f"only the class {quoted(classes[0].name)}" if classes else "no class"
        least = "one class" if min_classes == 1 else "two classes, one a line"
        raise InputError(f"{source}: found {found}; write at least {least}")
    warnings = [
        *_negation_warnings(classes, source),
        *_contradiction_warnings(classes, source),
        *_identical_warnings(classes, source),
    ]
    return Task(Path(source).stem, tuple(classes), source, tuple(warnings))


def _place(description: ClassDescription, source: str) -> str:
    return source if description.line is None else f"{source}, line {description.line}"


def _negation_warnings(classes: Sequence[ClassDescription], source: str) -> Iterator[str]:
    found = [
        (item, match[0])
        for item in classes
        if (match := next(filter(None, map(_NEGATION.search, item.texts)), None)) is not None
    ]
    for item, word in found[:MAX_PROPOSALS]:
        yield (
            f"{_place(item, source)}: a text of {quoted(item.name)} says '{word}', which the text encoder "
            f"does not understand; write: {_rewritten(item)}"
        )
    if len(found) > MAX_PROPOSALS:
        yield f"{source}: {len(found) - MAX_PROPOSALS} more classes have texts with not, no, without or never"


def _rewritten(item: ClassDescription) -> str:
    """The line with each negation moved into a `not:` text."""
    from t2m_edge.task.txt_format import format_line

    texts: list[str] = []
    negatives: list[str] = list(item.negatives)
    for text in item.texts:
        positive, moved = split_negation(text)
        if positive:
            texts.append(positive)
        negatives += [negative for negative in moved if negative not in negatives]
    return format_line(ClassDescription(item.name, tuple(texts), tuple(negatives), item.threshold))


def split_negation(text: str) -> tuple[str, list[str]]:
    """("a horse without stripes") -> ("a horse", ["stripes"]); a rule of thumb for the warning's proposal."""
    negatives = []
    for _ in range(MAX_NEGATIONS):
        match = _NEGATION.search(text)
        if match is None:
            break
        end = _CLAUSE_END.search(text, match.end())
        stop = end.start() if end else len(text)
        negative = _LEAD.sub("", _TAIL.sub("", " " + text[match.end() : stop].strip()).strip())
        before = _TAIL.sub("", " " + text[: match.start()].rstrip(" ,")).strip(" ,;")
        after = text[stop:].strip(" ,;.")
        after = re.sub(r"^(?:and|but)\s+", "", after, flags=re.IGNORECASE)
        negatives += [part for part in re.split(r"\s+(?:or|nor)\s+", negative) if part and not _NEGATION.search(part)]
        text = _EMPTY_BRACKETS.sub("", ", ".join(part for part in (before, after) if part))
    return text, negatives


def _contradiction_warnings(classes: Sequence[ClassDescription], source: str) -> Iterator[str]:
    """Classes that look like something and do not."""
    for item in classes:
        against = {tuple(_WORD.findall(text.casefold())) for text in item.negatives}
        for text in item.texts:
            if (words := tuple(_WORD.findall(text.casefold()))) and words in against:
                yield (
                    f"{_place(item, source)}: {quoted(item.name)} has {quoted(text)} as a text and as a not: text; "
                    "keep one of them"
                )


def _identical_warnings(classes: Sequence[ClassDescription], source: str) -> Iterator[str]:
    by_name: dict[str, ClassDescription] = {}
    for item in classes:
        other = by_name.setdefault(plain_name(item.name), item)
        if other is not item:
            yield (
                f"{_place(item, source)}: {quoted(item.name)} and {quoted(other.name)} (line {other.line}) are one "
                "name in two spellings; put all texts behind one, or give names that differ"
            )
    for first, second in near_identical([_words(item) for item in classes]):
        one, two = classes[first], classes[second]
        if plain_name(one.name) == plain_name(two.name):
            continue
        yield (
            f"{_place(two, source)}: {quoted(two.name)} and {quoted(one.name)} (line {one.line}) have nearly the same "
            f"words; say how they differ"
        )


def _words(item: ClassDescription) -> frozenset[str]:
    """The words that describe a class: its texts (or its name, when bare) and, apart from them, its negatives.

    A text that stands twice says nothing more, nor does the name of a class with negatives alone. The second "green" of
    a class is another element than the first, so that how often a word stands counts too.
    """
    texts = set(item.texts) or (set() if item.negatives else {item.name})
    counts = Counter(word for text in texts for word in _WORD.findall(text.casefold()))
    counts += Counter(f"not {word}" for text in set(item.negatives) for word in _WORD.findall(text.casefold()))
    return frozenset(f"{word} {n}" for word, count in counts.items() for n in range(count))


def near_identical(word_sets: Sequence[frozenset[str]], least: float = NEAR_IDENTICAL) -> list[tuple[int, int]]:
    """Pairs i < j of sets with Jaccard index >= least, each j at most once.

    Two such sets of n and m words share at least one of their n - ceil(least n) + 1 rarest words (prefix filtering),
    so only sets that share a rare word are compared: 1,000 classes take milliseconds.
    """
    counts = Counter(word for words in word_sets for word in words)
    index: dict[str, list[int]] = defaultdict(list)
    pairs = []
    for j, words in enumerate(word_sets):
        rarest = sorted(words, key=lambda word: (counts[word], word))
        prefix = rarest[: len(words) - int(-(-least * len(words) // 1)) + 1]
        candidates = sorted({i for word in prefix for i in index[word]})
        for i in candidates:
            shared = len(words & word_sets[i])
            if shared >= least * (len(words) + len(word_sets[i]) - shared):
                pairs.append((i, j))
                break
        for word in prefix:
            index[word].append(j)
    return pairs
