"""Thresholds from photos whose classes are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClassThreshold:
    """What a threshold does on the photos that it was chosen on.

    threshold: None where no photo is answered with the class.
    photos, answered: of the class, and those of them that get its name (multi-label: all of them).
    kept: those that reach the threshold, too.
    others, taken: photos of the other classes, and those that get this name and reach the threshold.
    """

    name: str
    threshold: float | None
    photos: int
    answered: int
    kept: int
    others: int
    taken: int


def thresholds_from(
    scores: np.ndarray, true: np.ndarray, labels: Sequence[str], keep: float, multi_label: bool
) -> tuple[ClassThreshold, ...]:
    """For each class with photos, the highest threshold that a share of its answered photos reaches.

    Args:
        scores: float (n, k) of n photos; true: int (n,), their classes.
        keep: the share, above 0 and up to 1.
        multi_label: whether every class answers by itself; else a photo is answered with its best class alone.
    """
    best = scores.argmax(1)
    found = []
    for c in np.unique(true):
        named = np.ones(len(scores), bool) if multi_label else best == c
        own, answered = true == c, (true == c) & named
        limit = _reached_by(scores[answered, c], keep) if answered.any() else None
        reached = named & (scores[:, c] >= (np.inf if limit is None else limit))
        counts = (own.sum(), answered.sum(), (reached & own).sum(), (~own).sum(), (reached & ~own).sum())
        found.append(ClassThreshold(labels[c], limit, *map(int, counts)))
    return tuple(found)


def _reached_by(scores: np.ndarray, share: float) -> float:
    """The highest number of four decimals that this share of the scores reaches; the least one reaches it for all."""
    falling = np.sort(scores)[::-1]
    last = falling[int(np.ceil(share * len(falling) - 1e-9)) - 1]
    return float(np.floor(last * 1e4) / 1e4)
