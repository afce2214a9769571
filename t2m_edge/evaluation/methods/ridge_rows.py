"""Ridge from text vectors to the rows of a ridge classifier of the seen classes (W)."""

from __future__ import annotations

import numpy as np

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.hypernetworks.class_vectors import unit
from t2m_edge.training.closed_form import STRENGTHS, ridge_few_rows, ridge_from_gram


def classifier_rows(seen: Seen, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """One-against-rest ridge rows float64 (k, d) of the seen classes, on features minus their mean (d,); both."""
    share = np.bincount(seen.labels) / len(seen.labels)
    cross = (seen.prototypes - seen.mean).T @ (np.eye(len(share)) - share)
    return ridge_from_gram(seen.balanced_gram, cross, strength).T, seen.mean


def fit(seen: Seen, seed: int = 0, strength: float = 1.0, image_strength: float = 1.0) -> Scores:
    """Rows of unit length; their cosine decides."""
    rows, mean = classifier_rows(seen, image_strength)
    texts = seen.texts
    centre, offset = texts.mean(0), rows.mean(0)
    map_ = ridge_few_rows(texts - centre, rows - offset, strength)

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        rows = unit((texts - centre) @ map_ + offset)
        return features @ rows.T.astype(np.float32) - rows @ mean

    return scores


METHOD = Method(
    "ridge to rows (W)",
    fit,
    {"strength": STRENGTHS, "image_strength": STRENGTHS},
    {"strength": 1.0, "image_strength": 1.0},
)
