"""Weights of the precisions that are derived from float32: float16, and int8 whose activations stay float."""

from __future__ import annotations

import numpy as np

from t2m_runtime.head import Head, Layer

FLOAT16_MAX = 65504.0
SMALLEST_INT8 = 1024
"""Weights of fewer values stay float32 in int8-dynamic: they take no room, and quantising costs a pass a call."""


def half(values: np.ndarray) -> np.ndarray:
    """float32 of any shape -> the nearest finite float16."""
    return np.clip(values, -FLOAT16_MAX, FLOAT16_MAX).astype(np.float16)


def symmetric_int8(weight: np.ndarray, axis: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Weights as ``int8 * scale``, zero point 0, ``scale = max |weight| / 127``.

    Args:
        weight: float32 of any shape.
        axis: of the output channels, each with a scale of its own; None for one scale.

    Returns:
        int8 of the same shape, and float32 (channels,) or (1,).
    """
    if axis is None:
        greatest = np.abs(weight).max(keepdims=True).reshape(-1)
        shape = (1,) * weight.ndim
    else:
        greatest = np.abs(weight).max(tuple(i for i in range(weight.ndim) if i != axis))
        shape = tuple(-1 if i == axis else 1 for i in range(weight.ndim))
    scale = np.maximum(greatest / np.float32(127), np.float32(1e-20)).astype(np.float32)
    return np.clip(np.rint(weight / scale.reshape(shape)), -127, 127).astype(np.int8), scale


def head_axis(target: str) -> int | None:
    """Axis of the scales of an int8-dynamic head's weights.

    TFLite's FULLY_CONNECTED with float activations takes one scale a channel from version 12 on, which readers of
    2023 do not know; so its heads have one scale.
    """
    return None if target == "tflite" else 0


def rounded_head(head: Head, target: str, precision: str) -> Head:
    """The float head that an artifact's stored weights stand for."""
    if precision == "fp32":
        return head
    layers = []
    for layer in head.layers:
        if precision == "fp16":
            layers.append(Layer(half(layer.weight).astype(np.float32), half(layer.bias).astype(np.float32)))
        elif layer.weight.size < SMALLEST_INT8:
            layers.append(layer)
        else:
            values, scale = symmetric_int8(layer.weight, head_axis(target))
            layers.append(Layer(values * scale[:, None], layer.bias))
    return Head(head.labels, tuple(layers))
