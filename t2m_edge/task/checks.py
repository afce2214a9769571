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

MAX_WARNED = 50
"""Classes whose negations are warned of one by one; the others are counted."""
MAX_REWRITTEN = 200
"""Characters of the longest text that a warning writes anew."""

_WORD = re.compile(r"\w+")
_NEGATION = re.compile(
    r"\b(?:not(?! (?:only|just|merely)\b)|no(?! (?:doubt|matter)\b)|without(?! doubt\b)|never)\b", re.IGNORECASE
)
_CLAUSE_END = re.compile(r"[,.;:!?()]|\b(?:but|though|although|however|not|no|without|never)\b", re.IGNORECASE)
_HAS_NOT = re.compile(r"\b(?:does|do) not have\b", re.IGNORECASE)
_START = r"(?:^|[,.;:(]|\b(?:and|but))\s*$"
_SOUND_BEFORE = {
    "without": re.compile(""),
    "no": re.compile(_START + r"|\b(?:with|has|have|having)\s+$", re.IGNORECASE),
    "not": re.compile(_START + r"|(?<!\bthere )\b(?:is|are)\s+$", re.IGNORECASE),
    "never": re.compile(_START + r"|\b(?:is|are)\s+$", re.IGNORECASE),
}
"""What stands before a negation that can be moved: "with no stripes", but not "there is no answer"."""
_UNSEEN = re.compile(
    r"\b(?:a|all|always|and|any|are|as|because|been|by|doubt|else|enough|except|fully|have|how|"
    r"idea|if|is|it|just|known|less|longer|many|more|much|need|often|one|only|other|"
    r"others|quite|reason|than|that|the|there|they|to|too|usually|very|way|when|where|"
    r"which|while|who|with|yet)\b",
    re.IGNORECASE,
)
"""Words of a negated phrase that names nothing to see ("no longer"), or of more than a phrase ("a tail and")."""
MAX_PHRASE_WORDS = 4
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
        least = "one class" if min_classes == 1 else "two classes, one a line (or --multi-label, where one is enough)"
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
    found = [(item, texts) for item in classes if (texts := list(filter(_NEGATION.search, item.texts)))]
    for item, (text, *others) in found[:MAX_WARNED]:
        more = f" (and {len(others)} more of its texts)" if others else ""
        yield (
            f"{_place(item, source)}: {quoted(item.name)} has the text {quoted(text, 60)}{more}; the text encoder does "
            f"not understand '{_NEGATION.search(text)[0]}'; write{_rewritten(text)}"
        )
    if len(found) > MAX_WARNED:
        yield f"{source}: {len(found) - MAX_WARNED} more classes have texts with not, no, without or never"


def _rewritten(text: str) -> str:
    """What to write instead of a text: itself with each negation as a `not:` text, where that is short and sound."""
    from t2m_edge.task.txt_format import escape

    split = split_negation(text) if len(text) <= MAX_REWRITTEN else None
    if split is None:
        return " what a photo shows, and what it does not show behind `not:`"
    positive, negatives = split
    return ": " + "; ".join(
        [escape(positive)] * bool(positive) + [f"not: {escape(negative)}" for negative in negatives]
    )


def split_negation(text: str) -> tuple[str, list[str]] | None:
    """("a horse without stripes") -> ("a horse", ["stripes"]); None where moving the words would change what is said.

    A rule of thumb for the warning's proposal.
    """
    negatives = []
    text = _HAS_NOT.sub("has no", text)
    while match := _NEGATION.search(text):
        if not _SOUND_BEFORE[match[0].casefold()].search(text[: match.start()]):
            return None
        end = _CLAUSE_END.search(text, match.end())
        stop = end.start() if end else len(text)
        negative = _LEAD.sub("", _TAIL.sub("", " " + text[match.end() : stop].strip()).strip())
        before = _TAIL.sub("", " " + text[: match.start()].rstrip(" ,")).strip(" ,;")
        after = text[stop:].strip(" ,;.")
        after = re.sub(r"^(?:and|but)\s+", "", after, flags=re.IGNORECASE)
        for part in re.split(r"\s+(?:or|nor)\s+", negative):
            if not 1 <= len(_WORD.findall(part)) <= MAX_PHRASE_WORDS or _UNSEEN.search(part):
                return None
            negatives.append(part)
        text = _EMPTY_BRACKETS.sub("", ", ".join(part for part in (before, after) if part))
    return ("" if text.casefold() in ("it", "they", "this", "that") else text), negatives


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
