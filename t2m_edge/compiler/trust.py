"""How far to trust a compiled task: the accuracy to expect, and the classes that are likely to be taken for each other.

Both come from the generated rows alone: rows that point the same way name the same images. Of classes that the pack was
trained on, its feature bank has images that it was not trained on: there the accuracy is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from t2m_edge.packs.calibration import Calibration
from t2m_edge.packs.pack import FeatureBank
from t2m_edge.task.description import plain_name
from t2m_runtime import Head
from t2m_runtime.manifest import NONE_LABEL

PAIRS = 3
ALIKE = 0.5
"""Cosine of two rows from which classes count as alike. Of two classes of the default pack's bank with such rows, by
their names, one photo in six and more is taken for the other, of most pairs (cosine about 0) one in twenty.
"""


@dataclass(frozen=True)
class ExpectedAccuracy:
    """Share of photos that will be named rightly where the pack was trained on none of the task's classes.

    A class "none of these" is not reckoned with. low, high: four of five such tasks lie between them.
    """

    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class MeasuredAccuracy:
    """Share of the bank's images of the task's classes that the head names rightly, mean over these classes.

    classes: how many of the task's classes are in the bank by name: the pack was trained on things called so, whatever
    the task means by it; names: theirs; images: of them, on which it was not trained. Images of other classes have no
    part.
    rejected: share of these images that "none of these" turns away, mean over the classes; None without it.
    """

    accuracy: float
    classes: int
    images: int
    names: tuple[str, ...]
    rejected: float | None = None


@dataclass(frozen=True)
class RiskyPair:
    """Two classes with similar rows; likeness is the cosine between them."""

    first: str
    second: str
    likeness: float


def likeness(head: Head) -> np.ndarray:
    """Cosines between the last layer's rows: float32 (k, k)."""
    rows = head.layers[-1].weight
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows @ rows.T


def mean_likeness(head: Head) -> float:
    """Mean cosine between the rows of two classes."""
    cosines, k = likeness(head), len(head.labels)
    return float((cosines.sum() - np.trace(cosines)) / (k * (k - 1)))


def expected_accuracy(head: Head, calibration: Calibration, alone: np.ndarray | None = None) -> ExpectedAccuracy | None:
    """What to expect of a head by the pack's own record; None where the pack has none.

    Args:
        alone: bool (k,), the classes that are given by negative texts alone. Where there is one, nothing is known: the
            record is of described classes, and the rows of others point away from those whatever they mean.
    """
    if calibration.accuracy is None or (alone is not None and alone.any()):
        return None
    return ExpectedAccuracy(*calibration.accuracy.expected(len(head.labels), mean_likeness(head)))


def measured_accuracy(head: Head, bank: FeatureBank, alone: np.ndarray | None = None) -> MeasuredAccuracy | None:
    """How the head does on the bank's images of its own classes; None where the bank has none of them.

    Args:
        head: as it is written, with the class "none of these" where the task asks for it.
        alone: bool (k,), the classes that are given by negative texts alone: their names say nothing to the head, so
            they are not counted.
    """
    counted = np.ones(len(head.labels), bool)
    if alone is not None:
        counted[: len(alone)] = ~alone
    numbers = {plain_name(label): i for i, label in enumerate(head.labels) if counted[i] and label != NONE_LABEL}
    number = np.array([numbers.get(name, -1) for name in _plain(bank.classes)])
    if (number < 0).all():
        return None
    wanted = number[bank.labels]
    rows = wanted >= 0
    called, wanted = head.logits(bank.real[rows]).argmax(1), wanted[rows]
    classes = np.unique(wanted)

    def share(of: np.ndarray) -> float:
        return float(np.mean([of[wanted == c].mean() for c in classes]))

    names = tuple(head.labels[c] for c in classes)
    rejected = share(called == head.labels.index(NONE_LABEL)) if NONE_LABEL in head.labels else None
    return MeasuredAccuracy(share(called == wanted), len(classes), len(wanted), names, rejected)


@lru_cache(maxsize=4)
def _plain(names: tuple[str, ...]) -> tuple[str, ...]:
    """Plain names of the classes that a pack was trained on: hundreds, the same in every compile."""
    return tuple(map(plain_name, names))


def riskiest_pairs(head: Head, count: int = PAIRS) -> tuple[RiskyPair, ...]:
    """The pairs of classes with the most similar rows, most similar first; none that are less than ALIKE."""
    cosines = likeness(head)
    k = len(cosines)
    upper = np.where(np.tri(k, dtype=bool), -np.inf, cosines).ravel()
    count = min(count, k * (k - 1) // 2)
    # Sorting half a million pairs would take longer than the rest of a compile of 1,000 classes.
    near = np.flatnonzero(upper >= max(ALIKE, np.partition(upper, -count)[-count]))
    worst = near[np.argsort(-upper[near], kind="stable")][:count]
    return tuple(RiskyPair(head.labels[i // k], head.labels[i % k], round(float(upper[i]), 4)) for i in worst)
