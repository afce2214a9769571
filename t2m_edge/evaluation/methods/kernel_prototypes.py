"""Kernel ridge from text vectors to class means, times the inverse covariance within classes, over pooled data sets.

The map of L (ridge_prototypes.py) with the kernel exp(s (t . t_i - 1)) in the place of the dot product (Scholkopf and
Smola, Learning with Kernels, 2002). A class gives several rows of the system: its name, the mean of its sentences and
means of a few of them. Each data set's mean feature is taken off and not put back, so that a row says in what its
class differs from the others: the more the kernel is sharp, the more a common part would drown that.

Texts are compared within the strongest directions of the class means. A tested text is first replaced by what the class
mean most likely is, given a noise of some size in every direction and, where it is a single sentence, the spread of a
class's sentences (the Wiener filter: Bishop, Pattern Recognition and Machine Learning, 2006, equation 2.116). No step
is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.hypernetworks.class_vectors import unit

DRAWN = (1, 1, 2, 4)
"""Of how many sentences the means are that a class adds to its name and the mean of all."""
DIRECTIONS = 192
"""Of the texts. So 280 classes make 0.8 million numbers."""


def anchors(seen: Seen) -> tuple[np.ndarray, np.ndarray]:
    """Unit text vectors float32 (m, d_text) of the classes, and the class number of each, int64 (m,).

    Names, means of all sentences, and means of a few drawn ones: of fewer sentences than the class has.
    """
    rng = np.random.default_rng(0)
    every = np.arange(len(seen.names))
    texts, owners = [seen.text_of("name"), seen.text_of("descriptions")], [every, every]
    for count in DRAWN:
        classes = [c for c in every if len(seen.sentences[c]) > count]
        if classes:
            means = [rng.permutation(seen.sentences[c])[:count].mean(0) for c in classes]
            texts.append(unit(np.stack(means) - seen.centres.text))
            owners.append(np.array(classes))
    return np.concatenate(texts), np.concatenate(owners)


@dataclass(frozen=True)
class Directions:
    """The strongest directions of the class means of texts.

    basis: float64 (d_text, r); variances: of the class means along each, (r,); mean_variance: over all d_text.
    """

    basis: np.ndarray
    variances: np.ndarray
    mean_variance: float


def text_directions(sets: Sequence[Seen]) -> Directions:
    """Of all sets, each one's mean text taken off."""
    means = np.concatenate([s.sentence_means - s.sentence_means.mean(0) for s in sets])
    variances, directions = np.linalg.eigh(means.T @ means / len(means))
    strongest = variances.argsort()[::-1][: min(DIRECTIONS, len(means) - len(sets))]
    return Directions(directions[:, strongest], variances[strongest], float(variances.mean()))


def text_filter(found: Directions, seen: Seen, noise: float) -> np.ndarray:
    """What tested texts are multiplied by: float64 (d_text, r).

    ``noise``: the share of the class means' variance that a tested text has in every direction, and of the sentences'
    covariance within classes that a single sentence has. 0: the directions as they are.
    """
    if noise == 0:
        return found.basis
    between, errors = np.diag(found.variances), noise * found.mean_variance * np.eye(len(found.variances))
    if seen.condition == "sentence":
        within = np.concatenate([s - s.mean(0) for s in seen.sentences]) @ found.basis
        errors += noise * within.T @ within / len(within)
    return found.basis @ np.linalg.solve(between + errors, between)


@dataclass(frozen=True)
class Regression:
    """Kernel ridge from texts to prototypes: inputs float64 (m, r), unit, along directions; weights float64 (m, d)."""

    directions: Directions
    inputs: np.ndarray
    weights: np.ndarray


def regression(sets: Sequence[Seen], sharpness: float, strength: float, others: float) -> Regression:
    """Fitted to the anchors of all sets; see ``kernel_rows``."""
    texts, targets, ridge = [], [], []
    for part in sets:
        rows, owner = anchors(part)
        texts.append(rows)
        targets.append((part.prototypes - part.prototypes.mean(0))[owner])
        ridge.append(strength * np.bincount(owner)[owner] * (1 if part is sets[0] else others))
    directions = text_directions(sets)
    inputs = unit(np.concatenate(texts) @ directions.basis)
    system = kernel(inputs, inputs, sharpness) + np.diag(np.concatenate(ridge))
    return Regression(directions, inputs, np.linalg.solve(system, np.concatenate(targets)))


def kernel(a: np.ndarray, b: np.ndarray, sharpness: float) -> np.ndarray:
    """Unit rows (n, r) and (m, r) -> (n, m)."""
    return np.exp(sharpness * (a @ b.T - 1))


def kernel_rows(
    seen: Seen,
    seed: int = 0,
    sharpness: float = 4.0,
    strength: float = 0.3,
    noise: float = 0.0,
    between: float = 0.0,
    others: float = 2.0,
    shrinkage: float = 0.3,
    pooled: bool = True,
) -> Callable[[np.ndarray], np.ndarray]:
    """Texts float32 (k, d_text) -> rows of a head (k, d).

    ``strength`` is that of a class, however many rows it has; ``others``: how many times stronger the ridge is for
    texts of other data sets; ``noise``: of tested texts (``text_filter``); ``between``: the share of the covariance
    between classes that is added to that within them.
    """
    sets = (seen, *(seen.others if pooled else ()))
    found = seen.kept((sharpness, strength, others, pooled), lambda: regression(sets, sharpness, strength, others))
    inputs = found.inputs.astype(np.float32)
    tested = text_filter(found.directions, seen, noise).astype(np.float32)
    weights = (found.weights @ seen.inverse_covariance(shrinkage, between)).astype(np.float32)
    return lambda given: kernel(unit(given @ tested), inputs, sharpness) @ weights


def fit(seen: Seen, seed: int = 0, **settings: float) -> Scores:
    rows = kernel_rows(seen, seed, **settings)
    return lambda features, texts: features @ unit(rows(texts)).T


GRID = {"sharpness": (2.0, 4.0, 6.0), "noise": (0.0, 0.3), "between": (0.0, 0.3)}
METHOD = Method("kernel ridge to prototypes", partial(fit, pooled=False), GRID)
POOLED = Method("kernel ridge to prototypes, pooled", fit, GRID)
