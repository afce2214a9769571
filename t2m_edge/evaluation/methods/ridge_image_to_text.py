"""Ridge from images to text vectors: the usual linear baseline of zero-shot learning."""

from __future__ import annotations

import numpy as np

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.hypernetworks.class_vectors import unit
from t2m_edge.training.closed_form import STRENGTHS, ridge_from_gram


def fit(seen: Seen, seed: int = 0, strength: float = 1.0) -> Scores:
    """Each image is mapped to the text vector of its class; an image is scored by the cosine to a class's text."""
    texts = seen.texts
    mean, centre = seen.mean, texts.mean(0)
    cross = (seen.prototypes - mean).T @ (texts - centre)
    map_ = ridge_from_gram(seen.balanced_gram, cross, strength).astype(np.float32)

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        return unit((features - mean) @ map_ + centre) @ unit(texts).T

    return scores


METHOD = Method("ridge image to text", fit, {"strength": (0.001, 0.003, 0.01, *STRENGTHS)}, {"strength": 1.0})
