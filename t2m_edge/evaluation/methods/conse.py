"""ConSE: an image's vector is the mean of the seen classes' text vectors, weighted by a classifier's probabilities.

Norouzi et al., ICLR 2014, equation 2: the ``nearest`` most probable classes count.
"""

from __future__ import annotations

import numpy as np

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.evaluation.methods.ridge_rows import classifier_rows
from t2m_edge.hypernetworks.class_vectors import unit


def fit(seen: Seen, seed: int = 0, nearest: int = 10, temperature: float = 0.1, image_strength: float = 1.0) -> Scores:
    """The classifier is a ridge classifier; its scores divided by ``temperature`` give the probabilities."""
    rows, mean = classifier_rows(seen, image_strength)
    known = seen.texts
    spread = np.sqrt(np.einsum("kd,de,ke->k", rows, seen.gram, rows).mean() / len(seen.labels))
    rows = (rows / (spread * temperature)).astype(np.float32)

    among = (known @ known.T).astype(np.float32)

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        found = (features - mean) @ rows.T
        last = max(len(known) - nearest, 0)
        cut = np.partition(found, last, axis=1)[:, last]
        weight = np.where(found >= cut[:, None], np.exp(found - found.max(1, keepdims=True)), 0)
        length = np.sqrt(np.maximum(((weight @ among) * weight).sum(1, keepdims=True), 1e-12))
        return weight @ (known @ unit(texts).T).astype(np.float32) / length

    return scores


METHOD = Method(
    "ConSE",
    fit,
    {"nearest": (5, 10, 20, 1000), "temperature": (0.1, 0.3, 1.0), "image_strength": (0.3, 1.0, 3.0)},
    {"nearest": 10, "temperature": 0.3, "image_strength": 1.0},
)
