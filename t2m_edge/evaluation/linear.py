"""The two strongest closed-form baselines: ridge to classifier rows (W) and ridge to prototypes with an LDA score (L).

Both map the text vector of a class to a row and a bias by one linear map, fitted on the seen classes. Strengths are
chosen on pseudo-unseen classes inside the seen ones (``tune``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from t2m_edge.evaluation.metrics import per_class_accuracy

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class SeenClasses:
    """features float32 (n, d), labels int (n,) into the rows of texts, float32 (k, d_text)."""

    features: np.ndarray
    labels: np.ndarray
    texts: np.ndarray

    def only(self, classes: np.ndarray) -> SeenClasses:
        """These classes alone, labels renumbered."""
        number = np.full(len(self.texts), -1)
        number[classes] = np.arange(len(classes))
        keep = number[self.labels] >= 0
        return SeenClasses(self.features[keep], number[self.labels[keep]], self.texts[classes])


Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(features (n, d), texts (k, d_text)) -> logits (n, k)."""


def class_means(seen: SeenClasses) -> np.ndarray:
    """Prototypes, float32 (k, d)."""
    return np.stack([seen.features[seen.labels == c].mean(0) for c in range(len(seen.texts))])


def ridge(inputs: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """(X'X + s m I)^-1 X'Y with m the mean squared row length, so that a strength means the same at any scale."""
    gram = inputs @ inputs.T
    scale = np.trace(gram) / len(gram)
    return inputs.T @ np.linalg.solve(gram + strength * scale * np.eye(len(gram)), targets)


def fit_rows(seen: SeenClasses, text_strength: float, image_strength: float) -> Scores:
    """W: one-against-rest ridge classifier rows of the seen classes, then ridge from text vectors to rows."""
    mean = seen.features.mean(0)
    x = seen.features - mean
    onehot = np.eye(len(seen.texts), dtype=np.float32)[seen.labels]
    balance = 1 / np.sqrt(np.bincount(seen.labels)[seen.labels])[:, None]
    x, y = x * balance, (onehot - onehot.mean(0)) * balance
    covariance = x.T @ x
    damping = image_strength * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    rows = np.linalg.solve(covariance + damping, x.T @ y).T
    centre, offset = seen.texts.mean(0), rows.mean(0)
    weights = ridge(seen.texts - centre, rows - offset, text_strength)

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        row = (texts - centre) @ weights + offset
        row /= np.maximum(np.linalg.norm(row, axis=1, keepdims=True), 1e-12)
        return (features - mean) @ row.T

    return scores


def inverse_covariance(seen: SeenClasses, prototypes: np.ndarray, shrinkage: float) -> np.ndarray:
    """Inverse of the covariance within classes, shrunk to a multiple of the identity: float64 (d, d)."""
    x = seen.features - prototypes[seen.labels]
    covariance = x.T @ x / len(x)
    shrink = shrinkage / (1 + shrinkage)
    covariance = (1 - shrink) * covariance + shrink * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.linalg.inv(covariance)


def prototype_rows(seen: SeenClasses, text_strength: float, shrinkage: float) -> tuple[np.ndarray, np.ndarray]:
    """L without its bias term as an affine map of the text vector to a row: row = text @ weight + bias.

    Returns weight float64 (d_text, d) and bias (d,), scaled so that the seen classes' rows have mean length 1.
    """
    prototypes = class_means(seen)
    inverse = inverse_covariance(seen, prototypes, shrinkage)
    centre, offset = seen.texts.mean(0), prototypes.mean(0)
    weight = ridge(seen.texts - centre, prototypes - offset, text_strength) @ inverse
    bias = offset @ inverse - centre @ weight
    length = np.linalg.norm(seen.texts @ weight + bias, axis=1).mean()
    return weight / length, bias / length


def fit_prototypes(seen: SeenClasses, text_strength: float, shrinkage: float) -> Scores:
    """L: ridge from text vectors to class means p; score f'S^-1 p - p'S^-1 p / 2, S the shrunk covariance."""
    prototypes = class_means(seen)
    inverse = inverse_covariance(seen, prototypes, shrinkage)
    centre, offset = seen.texts.mean(0), prototypes.mean(0)
    weights = ridge(seen.texts - centre, prototypes - offset, text_strength)

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        p = (texts - centre) @ weights + offset
        row = p @ inverse
        return features @ row.T - (row * p).sum(1) / 2

    return scores


FITS = {"W": fit_rows, "L": fit_prototypes}


def tune(method: str, seen: SeenClasses, pseudo_unseen: Sequence[np.ndarray]) -> tuple[float, float]:
    """The pair of strengths with the best mean per-class top-1 on the pseudo-unseen classes.

    pseudo_unseen: for each inner split the class numbers (into ``seen``) that are held out.
    """
    best = (-1.0, (1.0, 1.0))
    inner = [(seen.only(np.setdiff1d(np.arange(len(seen.texts)), held)), seen.only(held)) for held in pseudo_unseen]
    for pair in product(STRENGTHS, STRENGTHS):
        values = [
            per_class_accuracy(FITS[method](fit, *pair)(held.features, held.texts), held.labels) for fit, held in inner
        ]
        best = max(best, (float(np.mean(values)), pair))
    return best[1]
