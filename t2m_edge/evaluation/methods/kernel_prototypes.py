"""Kernel ridge from text vectors to class means, times the inverse covariance within classes, over pooled data sets.

The map of L (ridge_prototypes.py) with the kernel exp(s (t . t_i - 1)) in the place of the dot product (Scholkopf and
Smola, Learning with Kernels, 2002), one row of the system for each class's name and one for its sentences. Each data
set's mean feature is taken off before the classes of several sets are put together. No step is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.hypernetworks.class_vectors import unit
from t2m_edge.training.closed_form import inverse_covariance, ridge_few_rows

TEXTS = ("name", "descriptions")


def stacked(seen: Seen, pooled: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Text vectors (m, d_text), centred class means (m, d), and which of them belong to other data sets (m,)."""
    sets = [seen, *(seen.others if pooled else ())]
    texts = [s.text_of(condition) for s in sets for condition in TEXTS]
    means = [s.prototypes - s.prototypes.mean(0) for s in sets for _ in TEXTS]
    foreign = np.repeat([s is not seen for s in sets for _ in TEXTS], [len(t) for t in texts])
    return np.concatenate(texts), np.concatenate(means), foreign


def kernel_rows(
    seen: Seen,
    seed: int = 0,
    sharpness: float = 2.0,
    strength: float = 0.2,
    others: float = 3.0,
    shrinkage: float = 0.3,
    pooled: bool = True,
) -> Callable[[np.ndarray], np.ndarray]:
    """Texts float32 (k, d_text) -> rows of a head (k, d).

    ``others``: how many times stronger the ridge is for texts of other data sets.
    """
    inputs, targets, foreign = stacked(seen, pooled)
    own = seen.prototypes
    inverse = inverse_covariance(seen.features, seen.labels, own, shrinkage)
    system = np.exp(sharpness * (inputs @ inputs.T - 1)) + np.diag(strength * np.where(foreign, others, 1))
    weights = np.linalg.solve(system, targets) @ inverse
    offset = own.mean(0) @ inverse
    return lambda texts: np.exp(sharpness * (texts @ inputs.T - 1)) @ weights + offset


def fit(seen: Seen, seed: int = 0, **settings: float) -> Scores:
    rows = kernel_rows(seen, seed, **settings)
    return lambda features, texts: features @ unit(rows(texts)).T


def fit_linear(seen: Seen, seed: int = 0, strength: float = 10.0, shrinkage: float = 1.0) -> Scores:
    """L on the pooled data sets: what pooling alone brings."""
    inputs, targets, _ = stacked(seen, pooled=True)
    own = seen.prototypes
    inverse, offset = inverse_covariance(seen.features, seen.labels, own, shrinkage), own.mean(0)
    map_ = ridge_few_rows(inputs, targets, strength)

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        p = texts @ map_ + offset
        row = p @ inverse
        return features @ row.T - (row * p).sum(1) / 2

    return scores


GRID = {"sharpness": (1.0, 2.0, 3.0), "strength": (0.1, 0.2, 0.4)}
METHOD = Method("kernel ridge to prototypes", partial(fit, pooled=False), GRID)
POOLED = Method("kernel ridge to prototypes, pooled", fit, GRID | {"others": (1.0, 3.0)})
LINEAR_POOLED = Method("L, pooled", fit_linear, {"strength": (3.0, 10.0, 30.0), "shrinkage": (0.3, 1.0)})
