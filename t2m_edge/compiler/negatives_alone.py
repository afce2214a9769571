"""Classes that are given by negative texts alone, beside others that say what they look like.

Such a class's row points away from what it is not, so its logit is 0 where nothing is known, while the best of the
other classes' is above that on most images: it would hardly ever win. A constant gives it back its share.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from t2m_edge.task import Task
from t2m_runtime import Head, Layer

LEAD = 0.5
"""The constant, in standard deviations of the class's own logit over the feature bank (docs/accuracy.md says why)."""


def negatives_alone(task: Task) -> np.ndarray:
    """Which classes have negative texts and no other: bool (k,)."""
    return np.array([bool(c.negatives) and not c.texts for c in task.classes])


def with_lead(head: Head, alone: np.ndarray, features: np.ndarray) -> Head:
    """The head with a greater bias for these classes; the same head where they are none or all.

    Args:
        alone: bool (k,); features: float32 (n, d), the bank's.
    """
    if not alone.any() or alone.all():
        return head
    last = head.layers[-1]
    spread = head.logits(features).std(0)
    return replace(head, layers=(*head.layers[:-1], Layer(last.weight, last.bias + LEAD * np.where(alone, spread, 0))))
