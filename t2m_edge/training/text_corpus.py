"""English lines to teach a text encoder with: WordNet's words, definitions and examples.

Reads the plain files of WordNet 3 (Debian package `wordnet-base`: data.noun, data.verb, data.adj, data.adv; format in
`man wndb`). Nothing else goes in: no class description of any data set is part of the corpus, apart from definitions
that a data set itself took from WordNet.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t2m_runtime.errors import InputError

PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")
HOW_TO_GET = "on Debian: apt-get install wordnet-base   (then pass --wordnet /usr/share/wordnet)"

# Lexicographer files of things that can be photographed: animal, artifact, body, food, object, person, plant, shape,
# substance.
_THINGS = frozenset({"05", "06", "08", "13", "17", "18", "20", "25", "27"})
_EXAMPLE = re.compile(r'"([^"]+)"')
_MARKER = re.compile(r"\((?:a|p|ip)\)$")  # syntactic marker of an adjective, as in "galore(ip)"


@dataclass(frozen=True)
class Synset:
    """One meaning: the words that share it, its definition, example sentences.

    `thing` is true for kinds of things that can be photographed; a single person or place ("Ada Lovelace") is none.
    `field`: the lexicographer file, such as "13", food.
    """

    part: str
    field: str
    words: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    thing: bool


def read_wordnet(folder: str | Path) -> list[Synset]:
    """All synsets of a WordNet folder, in file order.

    Raises:
        InputError: a data file is missing or holds a line of another format.
    """
    synsets = []
    for part in PARTS_OF_SPEECH:
        path = Path(folder) / f"data.{part}"
        if not path.is_file():
            raise InputError(f"{folder} is not a WordNet folder: {path.name} is missing; {HOW_TO_GET}")
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
            if not line.startswith("  "):  # the licence lines at the top start with two spaces
                try:
                    synsets.append(_parse_synset(part, line))
                except (ValueError, IndexError):
                    raise InputError(f"{path}, line {number}: not a WordNet synset line; {HOW_TO_GET}") from None
    return synsets


def _parse_synset(part: str, line: str) -> Synset:
    data, gloss = line.split(" | ", 1)
    fields = data.split()
    count = int(fields[3], 16)
    words = tuple(_MARKER.sub("", fields[4 + 2 * i]).replace("_", " ") for i in range(count))
    pointers = fields[5 + 2 * count :: 4]
    definition = _EXAMPLE.sub("", gloss)
    definition = re.sub(r"\s*;(\s*;)*\s*$", "", re.sub(r"\s+", " ", definition).strip()).strip(" ;")
    examples = tuple(example.strip() for example in _EXAMPLE.findall(gloss))
    thing = part == "noun" and fields[1] in _THINGS and "@i" not in pointers
    return Synset(part, fields[1], words, definition, examples, thing)


def read_irregular_forms(folder: str | Path) -> list[str]:
    """Inflected forms that no rule gives ("geese", "wolves"), from the files noun.exc, verb.exc and adj.exc."""
    paths = [Path(folder) / f"{part}.exc" for part in ("noun", "verb", "adj")]
    lines = [line for path in paths if path.is_file() for line in path.read_text("utf-8").splitlines()]
    return [line.split()[0].replace("_", " ") for line in lines if line.strip()]


def training_lines(synsets: Sequence[Synset], seed: int = 0) -> list[str]:
    """Distinct lines in a random order fixed by `seed`, so that the first n of them are a fair sample.

    For every synset its words, its definition and its examples; for things also the forms that class descriptions
    take: a photo of it, name and definition, a sentence, single features, two features, two words of one.
    """
    rng = random.Random(seed)
    fragments = [f for s in synsets if s.thing for f in _fragments(s.definition)]
    lines: dict[str, None] = {}
    for synset in synsets:
        for line in _lines_of(synset, fragments, rng):
            if 1 < len(line) <= 300:
                lines.setdefault(line)
    ordered = list(lines)
    rng.shuffle(ordered)
    return ordered


def _lines_of(synset: Synset, fragments: Sequence[str], rng: random.Random) -> Iterator[str]:
    yield from synset.words
    yield from synset.examples
    if not synset.definition:
        return
    yield synset.definition
    first = synset.words[0]
    if synset.part == "noun":
        yield f"{first}: {synset.definition}"
    if not synset.thing:
        return
    for word in synset.words[:3]:
        yield f"a photo of {_article(word)} {word}"
    yield f"{_article(first).capitalize()} {first} is {synset.definition}."
    own = _fragments(synset.definition)
    if len(own) > 1:
        yield from own
    yield f"{first}, {rng.choice(own)}; {rng.choice(fragments)}"
    if len(synset.words) > 1:
        yield f"{first}; {synset.words[1]}"


def composed_lines(synsets: Sequence[Synset], seed: int = 0) -> Iterator[str]:
    """Lines without end that no dictionary holds, put together from it at random.

    Names of two to four words ("crisp yellow pear juice", "Aberdeen goat cheese"), in the forms that class
    descriptions take, and every third line a passage of two to four sentences about one thing.
    """
    rng = random.Random(seed)
    things = [s for s in synsets if s.thing and s.definition]
    uses = Counter(
        word for s in synsets for text in (s.definition, *s.examples) for word in re.findall(r"[a-z]+", text)
    )
    adjectives = _by_use(
        [w for s in synsets if s.part == "adj" for w in s.words if w.isalpha() and w.islower()], uses, rng
    )
    nouns = _by_use([w for s in things for w in s.words if w == w.lower()], uses, rng)
    proper = [w for s in synsets if s.part == "noun" for w in s.words if w[0].isupper() and w.isalpha()]
    fragments: dict[str, list[str]] = defaultdict(list)
    for synset in things:
        fragments[synset.field] += _fragments(synset.definition)
    while True:
        thing = rng.choice(things)
        fragment = rng.choice(fragments[thing.field])
        word = nouns() if rng.random() < 0.5 else rng.choice(thing.words)
        before = [adjectives() if rng.random() < 0.6 else nouns() for _ in range(rng.choice((1, 1, 2)))]
        name = " ".join(([rng.choice(proper)] if rng.random() < 0.3 else []) + before[: 3 - word.count(" ")] + [word])
        kind = rng.random()
        if kind < 1 / 3:
            yield rng.choice((name, f"a photo of {_article(name)} {name}"))
        elif kind < 2 / 3:
            yield rng.choice((f"{name}: {thing.definition}", f"{name}, {fragment}", f"{name}; {fragment}"))
        else:
            sentences = [
                f"{thing.definition}.",
                f"{_article(fragment).capitalize()} {adjectives()} {word} with {fragment}.",
                f"It is {adjectives()}, {adjectives()} and {adjectives()}.",
                f"{name.capitalize()}: {fragment}.",
                *(f"{example}." for example in thing.examples),
                f"{rng.choice(rng.choice(things).words)} and {nouns()}, {rng.choice(fragments[thing.field])}.",
            ]
            rng.shuffle(sentences)
            start = rng.choice((f"{name}: ", f"{thing.words[0]}: ", f"{_article(name).capitalize()} {name} is ", ""))
            yield start + " ".join(sentences[: rng.randint(2, 4)])


def _by_use(words: Sequence[str], uses: Counter[str], rng: random.Random) -> Callable[[], str]:
    """Draws words, those of frequent use more often."""
    weights = np.cumsum([(1 + uses[word]) ** 0.75 for word in words])
    return lambda: words[int(np.searchsorted(weights, rng.random() * weights[-1]))]


def _fragments(definition: str) -> list[str]:
    """The parts of a definition between semicolons, brackets and "with": "small bird with a red breast" -> two."""
    parts = re.split(r"[;()]|\s(?=with )|\s(?=having )", definition)
    return [part.strip(" ,") for part in parts if len(part.strip(" ,")) > 2] or [definition]


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"
