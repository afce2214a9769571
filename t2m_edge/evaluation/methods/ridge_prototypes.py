"""Ridge from text vectors to class means, scored with the shrunk covariance within classes (L).

The score is the one of linear discriminant analysis: f'S^-1 p - p'S^-1 p / 2 (Hastie, Tibshirani and Friedman, 4.3).
"""

from __future__ import annotations

from functools import partial

import numpy as np

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.training.closed_form import ridge_few_rows, ridge_from_gram


def fit(
    seen: Seen,
    seed: int = 0,
    strength: float = 1.0,
    shrinkage: float = 1.0,
    between: float = 0.0,
    single: bool = False,
) -> Scores:
    """``single``: the regression sees every sentence and name by itself instead of one mean vector a class.

    ``between``: the share of the covariance between classes that is added to that within them.
    """
    inverse, texts, offset = seen.inverse_covariance(shrinkage, between), seen.texts, seen.prototypes.mean(0)
    if single:
        return discriminant(ridge_from_gram(*seen.sentence_regression, strength), offset, inverse)
    centre = texts.mean(0)
    map_ = ridge_few_rows(texts - centre, seen.prototypes - offset, strength)
    return discriminant(map_, offset - centre @ map_, inverse)


def fit_pooled(
    seen: Seen, seed: int = 0, strength: float = 10.0, shrinkage: float = 1.0, between: float = 0.0
) -> Scores:
    """L on names and mean texts of all data sets, each one's mean feature taken off: what pooling alone brings."""
    sets = [seen, *seen.others]
    inputs = np.concatenate([s.text_of(condition) for s in sets for condition in ("name", "descriptions")])
    targets = np.concatenate([s.prototypes - s.prototypes.mean(0) for s in sets for _ in range(2)])
    map_ = ridge_few_rows(inputs, targets, strength)
    return discriminant(map_, seen.prototypes.mean(0), seen.inverse_covariance(shrinkage, between))


def discriminant(map_: np.ndarray, offset: np.ndarray, inverse: np.ndarray) -> Scores:
    """Scores for the class means texts @ map_ + offset: map_ (d_text, d), offset (d,), inverse covariance (d, d)."""

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        p = texts @ map_ + offset
        row = p @ inverse
        return features @ row.T.astype(np.float32) - (row * p).sum(1) / 2

    return scores


MIDDLE = (0.1, 0.3, 1.0, 3.0)
GRID = {"strength": MIDDLE, "shrinkage": MIDDLE, "between": (0.0, 0.3)}
METHOD = Method("ridge to prototypes (L)", fit, GRID, {"strength": 1.0, "shrinkage": 1.0})
ON_SENTENCES = Method(
    "L on single sentences",
    partial(fit, single=True),
    {"strength": (1.0, 3.0, 10.0), "shrinkage": (0.3, 1.0, 3.0), "between": (0.0, 0.3)},
    {"strength": 30.0, "shrinkage": 1.0},
)
POOLED = Method("L, pooled", fit_pooled, {"strength": (1.0, 3.0, 10.0), "shrinkage": (0.3, 1.0), "between": (0.0, 0.3)})
