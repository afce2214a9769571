"""Closed forms: ridge regression with strengths that mean the same at any scale, and a map from texts to rows."""

from __future__ import annotations

import numpy as np

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


def ridge_few_rows(inputs: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """X'(XX' + s m I)^-1 Y, m the mean squared row length: for fewer rows than columns. -> float64 (d_in, d_out)."""
    gram = inputs @ inputs.T
    scale = np.trace(gram) / len(gram)
    return inputs.T @ np.linalg.solve(gram + strength * scale * np.eye(len(gram)), targets)


def ridge_many_rows(inputs: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """(X'X + s m I)^-1 X'Y with m the mean diagonal element of X'X: for many rows. -> float64 (d_in, d_out)."""
    return ridge_from_gram(inputs.T @ inputs, inputs.T @ targets, strength)


def ridge_from_gram(gram: np.ndarray, cross: np.ndarray, strength: float) -> np.ndarray:
    """``ridge_many_rows`` from X'X (d_in, d_in) and X'Y (d_in, d_out)."""
    scale = np.trace(gram) / len(gram)
    return np.linalg.solve(gram + strength * scale * np.eye(len(gram)), cross)


def balance(labels: np.ndarray) -> np.ndarray:
    """Row factors float64 (n, 1) that give every class the same total weight in a squared loss."""
    return 1 / np.sqrt(np.bincount(labels)[labels])[:, None]


def prototypes(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean feature of each class: float32 (k, d)."""
    return np.stack([features[labels == c].mean(0) for c in range(labels.max() + 1)])


def inverse_covariance(features: np.ndarray, labels: np.ndarray, means: np.ndarray, shrinkage: float) -> np.ndarray:
    """Inverse of the covariance within classes, shrunk to a multiple of the identity: float64 (d, d)."""
    x = features - means[labels]
    return inverse_of_shrunk(x.T @ x / len(x), shrinkage)


def inverse_of_shrunk(covariance: np.ndarray, shrinkage: float) -> np.ndarray:
    """Inverse of a covariance (d, d) shrunk to a multiple of the identity: float64 (d, d)."""
    shrink = shrinkage / (1 + shrinkage)
    covariance = (1 - shrink) * covariance + shrink * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.linalg.inv(covariance)


def text_to_row(
    features: np.ndarray, labels: np.ndarray, texts: np.ndarray, strength: float, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge from text vectors (k, d_text) to class means, times the inverse covariance: row = text @ weight + bias.

    The map of ``methods/ridge_prototypes.py`` without its score's bias. Returns weight float64 (d_text, d) and bias
    (d,), scaled so that the rows of the given classes have mean length 1.
    """
    means = prototypes(features, labels)
    inverse = inverse_covariance(features, labels, means, shrinkage)
    centre, offset = texts.mean(0), means.mean(0)
    weight = ridge_few_rows(texts - centre, means - offset, strength) @ inverse
    bias = offset @ inverse - centre @ weight
    length = np.linalg.norm(texts @ weight + bias, axis=1).mean()
    return weight / length, bias / length
