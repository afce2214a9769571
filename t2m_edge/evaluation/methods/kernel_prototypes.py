"""Kernel ridge from text vectors to class means, times the inverse covariance within classes, over pooled data sets.

The map of L (ridge_prototypes.py) with the kernel exp(s (t . t_i - 1)) in the place of the dot product (Scholkopf and
Smola, Learning with Kernels, 2002). A class gives several rows of the system: its name, the mean of its sentences and
means of a few of them. Each data set's mean feature is taken off and not put back, so that a row says in what its
class differs from the others: the more the kernel is sharp, the more a common part would drown that. No step is
trained.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.hypernetworks.class_vectors import unit
from t2m_edge.training.closed_form import ridge_few_rows

DRAWN = (1, 2, 4)
"""Of how many sentences the means are that a class adds to its name and the mean of all."""
OWN = (1, *DRAWN)
"""The same for classes of the data set itself. Together, 280 classes stay under a million numbers."""


def anchors(seen: Seen, drawn: tuple[int, ...] = OWN) -> tuple[np.ndarray, np.ndarray]:
    """Unit text vectors float32 (m, d_text) of the classes, and the class number of each, int64 (m,).

    Names, means of all sentences, and means of ``drawn`` ones. A mean of as many sentences as a class has, or more, is
    left out: it is there already.
    """
    rng = np.random.default_rng(0)
    every = np.arange(len(seen.names))
    texts, owners = [seen.text_of("name"), seen.text_of("descriptions")], [every, every]
    for count in drawn:
        classes = [c for c in every if len(seen.sentences[c]) > count]
        if classes:
            means = [rng.permutation(seen.sentences[c])[:count].mean(0) for c in classes]
            texts.append(unit(np.stack(means) - seen.centres.text))
            owners.append(np.array(classes))
    return np.concatenate(texts), np.concatenate(owners)


def kernel_rows(
    seen: Seen,
    seed: int = 0,
    sharpness: float = 4.0,
    strength: float = 0.3,
    others: float = 2.0,
    shrinkage: float = 0.3,
    pooled: bool = True,
) -> Callable[[np.ndarray], np.ndarray]:
    """Texts float32 (k, d_text) -> rows of a head (k, d).

    ``strength`` is that of a class, however many rows it has; ``others``: how many times stronger the ridge is for
    texts of other data sets.
    """
    texts, targets, ridge = [], [], []
    for part in (seen, *(seen.others if pooled else ())):
        rows, owner = anchors(part, OWN if part is seen else DRAWN)
        texts.append(rows)
        targets.append((part.prototypes - part.prototypes.mean(0))[owner])
        ridge.append(strength * np.bincount(owner)[owner] * (1 if part is seen else others))
    inputs = np.concatenate(texts)
    system = np.exp(sharpness * (inputs @ inputs.T - 1)) + np.diag(np.concatenate(ridge))
    weights = np.linalg.solve(system, np.concatenate(targets)) @ seen.inverse_covariance(shrinkage)
    return lambda given: np.exp(sharpness * (given @ inputs.T - 1)) @ weights


def fit(seen: Seen, seed: int = 0, **settings: float) -> Scores:
    rows = kernel_rows(seen, seed, **settings)
    return lambda features, texts: features @ unit(rows(texts)).T


def fit_linear(seen: Seen, seed: int = 0, strength: float = 10.0, shrinkage: float = 1.0) -> Scores:
    """L on the pooled data sets: what pooling alone brings."""
    sets = [seen, *seen.others]
    inputs = np.concatenate([s.text_of(condition) for s in sets for condition in ("name", "descriptions")])
    targets = np.concatenate([s.prototypes - s.prototypes.mean(0) for s in sets for _ in range(2)])
    inverse, offset = seen.inverse_covariance(shrinkage), seen.prototypes.mean(0)
    map_ = ridge_few_rows(inputs, targets, strength)

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        p = texts @ map_ + offset
        row = p @ inverse
        return features @ row.T - (row * p).sum(1) / 2

    return scores


GRID = {"sharpness": (2.0, 4.0, 6.0), "strength": (0.1, 0.3)}
METHOD = Method("kernel ridge to prototypes", partial(fit, pooled=False), GRID)
POOLED = Method("kernel ridge to prototypes, pooled", fit, GRID)
LINEAR_POOLED = Method("L, pooled", fit_linear, {"strength": (3.0, 10.0, 30.0), "shrinkage": (0.3, 1.0)})
