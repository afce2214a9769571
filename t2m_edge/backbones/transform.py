"""The feature transform: centre and project the pooled features, then unit length. Affine, so the graph holds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FeatureTransform:
    """features = unit(pooled @ weight.T + bias). weight float32 (d_feature, d_pooled), bias float32 (d_feature,)."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, pooled: np.ndarray) -> np.ndarray:
        """float32 (n, d_pooled) -> unit rows, float32 (n, d_feature)."""
        x = pooled @ self.weight.T + self.bias
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def fit_transform(pooled: np.ndarray, labels: np.ndarray, size: int, whitening: float = 0.25) -> FeatureTransform:
    """Centre on the mean of the class means and project on the ``size`` strongest directions of all images.

    Args:
        pooled: float32 (n, d_pooled) of training images.
        labels: int (n,), their classes; classes weigh the same however many images they have.
        size: d_feature.
        whitening: 0 keeps the variances, 1 makes them equal, between is a power: direction i is divided by
            std_i ** whitening.
    """
    weights = 1 / np.bincount(labels)[labels]
    weights = weights / weights.sum()
    mean = weights @ pooled
    centred = pooled - mean
    covariance = (centred * weights[:, None]).T @ centred
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1][:size], vectors[:, ::-1][:, :size]
    gain = np.maximum(values, values[0] * 1e-6) ** (-whitening / 2)
    weight = (vectors * gain).T
    return FeatureTransform(np.ascontiguousarray(weight, np.float32), (-weight @ mean).astype(np.float32))
