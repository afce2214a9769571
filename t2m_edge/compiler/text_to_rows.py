"""Rows of new classes from texts and a classifier's own rows: no image, no training of the classifier.

The task is that of ICIS (Christensen et al., ICCV 2023). Its crossed autoencoders are replaced by kernel ridge
regression from text vectors to rows, which measures better (docs/inject.md) and has a closed form for what each old
class would get if its own row were not known. Those left-out rows choose the settings and the calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2m_edge.hypernetworks.class_vectors import unit

SHARPNESS = (2.0, 4.0, 8.0)
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
MARGIN = 1.8
"""Chosen on pseudo-new classes (old ones whose rows were left out) of MobileNetV2 and their Tiny-ImageNet images: there
it costs the old classes one point of accuracy in the mean, for 5, 25 and 50 new classes (docs/inject.md).
"""
MIN_PHOTOS = 16
OFFSET_AT_ONE, OFFSET_PER_LOG = 2.9, 1.8
MIN_CLASSES = 3
"""Fewer rows teach nothing: leaving one out must leave two."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Where rows point, after the old rows' mean is taken off, and the bias that goes with a row of length 1.

    new: float64 (n, d + 1), unit rows and their biases; left_out: float64 (k, d + 1), the same for each old class from
    all the others.
    sharpness, strength: the settings; cosine: mean cosine of the left-out rows to the true ones.
    """

    new: np.ndarray
    left_out: np.ndarray
    sharpness: float
    strength: float
    cosine: float


def predict_directions(texts: np.ndarray, weight: np.ndarray, bias: np.ndarray, new_texts: np.ndarray) -> Directions:
    """Kernel ridge with the kernel exp(sharpness * (cosine - 1)) between centred text vectors.

    With G the kernel matrix of the old classes, s the strength and Y their centred rows and biases, a = (G + s I)^-1 Y
    gives new rows k(new, old) a; row i predicted without row i is Y_i - a_i / ((G + s I)^-1)_ii (Rasmussen and Williams
    2006, equation 5.12). The settings with the best mean cosine of those to the true rows are taken.

    Args:
        texts: float (k, d_text), one vector an old class; weight, bias: float64 (k, d) and (k,), their rows.
        new_texts: float (n, d_text).
    """
    centre = texts.mean(0)
    x, z = unit(texts - centre).astype(np.float64), unit(new_texts - centre).astype(np.float64)
    y = np.c_[weight - weight.mean(0), bias - bias.mean()]
    wanted = unit(y[:, :-1])
    best = None
    for sharpness in SHARPNESS:
        values, vectors = np.linalg.eigh(_kernel(x, x, sharpness))
        turned, squares = vectors.T @ y, vectors**2
        for strength in STRENGTHS:
            inverse = 1 / (np.maximum(values, 0) + strength)
            weights = vectors @ (inverse[:, None] * turned)
            left_out = directed(y - weights / (squares @ inverse)[:, None])
            cosine = float((left_out[:, :-1] * wanted).sum(1).mean())
            if best is None or cosine > best[0]:
                best = cosine, sharpness, strength, weights, left_out
    cosine, sharpness, strength, weights, left_out = best
    return Directions(directed(_kernel(z, x, sharpness) @ weights), left_out, sharpness, strength, cosine)


def directed(rows: np.ndarray) -> np.ndarray:
    """Centred rows with their biases as the last column, at such a scale that the rows have length 1."""
    return rows / np.maximum(np.linalg.norm(rows[:, :-1], axis=1, keepdims=True), 1e-12)


def _kernel(a: np.ndarray, b: np.ndarray, sharpness: float) -> np.ndarray:
    return np.exp(sharpness * (a @ b.T - 1))


@dataclass(frozen=True, eq=False)
class NewRows:
    """Rows as they go into the classifier.

    weight: float64 (n, d); bias: float64 (n,), zeros where the layer can have none.
    offset: that the biases have, or would need, against the old rows' mean.
    taken: share of the photos of other things on which a new class still wins; None where no photos were run.
    """

    weight: np.ndarray
    bias: np.ndarray
    offset: float
    taken: float | None


def calibrated_rows(
    weight: np.ndarray,
    bias: np.ndarray,
    directions: np.ndarray,
    features: np.ndarray | None,
    biased: bool = True,
) -> NewRows:
    """Directions as rows that compete with the old ones without taking their images.

    A new row is the old rows' mean plus its direction at the old rows' mean length: a shorter row with a higher bias,
    or a longer one with a lower, was no better. Its bias is what goes with it plus one offset for all. With
    ``features`` of photos that show none of the classes, old or new, the best new logit is to lie MARGIN standard
    deviations under the best old one in the mean. Without, the offset is what that gave for MobileNetV2, by the number
    of new classes.

    Args:
        weight, bias: the old rows, float64 (k, d) and (k,).
        directions: of the new rows, float64 (n, d + 1), as ``predict_directions`` gives them.
        features: float64 (m, d) or None.
        biased: whether the layer can have biases.
    """
    mean = weight.mean(0)
    length = np.linalg.norm(weight - mean, axis=1).mean()
    rows, level = mean + length * directions[:, :-1], bias.mean() + length * directions[:, -1]
    if features is None or len(features) < MIN_PHOTOS:
        offset = float(OFFSET_AT_ONE - OFFSET_PER_LOG * np.log(len(rows)))
        return NewRows(rows, level + offset if biased else np.zeros(len(rows)), offset, None)
    gap = (features @ rows.T + level).max(1) - (features @ weight.T + bias).max(1)
    offset = float(-gap.mean() - MARGIN * gap.std())
    if not biased:
        return NewRows(rows, np.zeros(len(rows)), offset, float((gap > 0).mean()))
    return NewRows(rows, level + offset, offset, float((gap + offset > 0).mean()))
