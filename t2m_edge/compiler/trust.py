"""How far to trust a compiled task: the accuracy to expect, and the classes that are likely to be taken for each other.

Both come from the generated rows alone: rows that point the same way name the same images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2m_edge.packs.calibration import Calibration
from t2m_runtime import Head

PAIRS = 3


@dataclass(frozen=True)
class ExpectedAccuracy:
    """Share of photos of the task's classes that will be named rightly; four of five such tasks lie in the range."""

    accuracy: float
    low: float
    high: float


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


def expected_accuracy(head: Head, calibration: Calibration) -> ExpectedAccuracy | None:
    """What to expect of a head by the pack's own record; None where the pack has none."""
    if calibration.accuracy is None:
        return None
    return ExpectedAccuracy(*calibration.accuracy.expected(len(head.labels), mean_likeness(head)))


def riskiest_pairs(head: Head, count: int = PAIRS) -> tuple[RiskyPair, ...]:
    """The pairs of classes with the most similar rows, most similar first."""
    cosines = likeness(head)
    first, second = np.triu_indices(len(cosines), 1)
    values = cosines[first, second]
    worst = np.argsort(-values, kind="stable")[:count]
    return tuple(RiskyPair(head.labels[first[i]], head.labels[second[i]], round(float(values[i]), 4)) for i in worst)
