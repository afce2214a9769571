"""How a text is cut into words, and which of them an encoder was taught, by one rule for all encoders."""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator

import numpy as np

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_MIN_STEM = 3
_MIN_HALF = 4

# ending -> what may stand in its place in the word that was taught
_ENDINGS = (
    ("'s", ("",)), ("’s", ("",)), ("ies", ("y", "ie")), ("es", ("", "e")), ("s", ("",)),
    ("ied", ("y",)), ("ed", ("", "e")), ("ing", ("", "e")), ("ier", ("y",)), ("er", ("", "e")),
    ("iest", ("y",)), ("est", ("", "e")), ("ily", ("y",)), ("ly", ("", "le")), ("iness", ("y",)), ("ness", ("",)),
    ("less", ("",)), ("like", ("",)), ("ish", ("", "e")), ("y", ("", "e")), ("able", ("", "e")),
)  # fmt: skip
_BEGINNINGS = ("un", "non", "re", "mini", "multi", "semi")


def split_words(text: str) -> list[str]:
    """Runs of letters and digits, an apostrophe inside allowed: "cat's-eye_3" -> ["cat's", "eye", "3"]."""
    return _WORD.findall(text.replace("_", " "))


class TaughtWords:
    """The set of words that an encoder met in training, kept as sorted 32-bit hashes (4 bytes a word).

    A word counts as known when it was met itself, when it is a regular English inflection or derivation of a met word
    ("zebras", "stripier", "unstriped"), or a compound of two met words of at least four letters ("snowplough").
    Words of another script, product codes and most words of other languages are in none of these sets. A hash collides
    with one of 100,000 words in about one of 40,000 cases.
    """

    def __init__(self, hashes: np.ndarray):
        self._hashes = memoryview(np.ascontiguousarray(hashes, np.uint32))

    def __contains__(self, word: str) -> bool:
        """Whether the word (normalised as in training: lower case, no accents) is known."""
        return self._met(word) or self._derived(word) or self._compound(word)

    def _met(self, word: str) -> bool:
        value = word_hash(word)
        place = bisect_left(self._hashes, value)
        return place < len(self._hashes) and self._hashes[place] == value

    def _derived(self, word: str) -> bool:
        return any(self._met(stem) for stem in _stems(word)) or any(
            word.startswith(start)
            and len(word) - len(start) > _MIN_STEM
            and (self._met(word[len(start) :]) or any(self._met(stem) for stem in _stems(word[len(start) :])))
            for start in _BEGINNINGS
        )

    def _compound(self, word: str) -> bool:
        return any(
            self._met(word[:cut]) and (self._met(word[cut:]) or any(self._met(stem) for stem in _stems(word[cut:])))
            for cut in range(_MIN_HALF, len(word) - _MIN_HALF + 1)
        )


def _stems(word: str) -> Iterator[str]:
    for ending, replacements in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= _MIN_STEM:
            for replacement in replacements:
                yield stem + replacement
            if stem[-1] == stem[-2] and ending[0] in "aei":  # "bigger" -> "big"
                yield stem[:-1]


def word_hash(word: str) -> int:
    """The hash kept for a normalised word."""
    return zlib.crc32(word.encode())


def hash_words(words: Iterable[str]) -> np.ndarray:
    """uint32 (n,), sorted: what `TaughtWords` takes. Words that are known because of shorter ones are left out."""
    met = _Growing()
    for word in sorted(words, key=lambda word: (len(word), word)):
        if word not in met:
            met.hashes.add(word_hash(word))
    return np.array(sorted(met.hashes), np.uint32)


class _Growing(TaughtWords):
    """A set that is being gathered."""

    def __init__(self) -> None:
        self.hashes: set[int] = set()

    def _met(self, word: str) -> bool:
        return word_hash(word) in self.hashes


def few_pieces(word: str, pieces: int) -> bool:
    """Whether a tokenizer that keeps no list of words seems to know one: at most one piece for three letters.

    A tokenizer cuts "zebras" into one or two pieces, "Pferd" into three, a product code into single characters.
    """
    return pieces <= max(1, (len(word) + 1) // 3)
