"""Static int8 of weights and heads: symmetric rows, asymmetric activations, int32 biases (TFLite's specification)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2m_exporters.ranges import Histogram, Quantization, choose, from_interval
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead, QuantizedLayer

SATURATION = 0.01
"""How much of a softmax score may be lost, of any image of the bank, by raising low logits to the least int8 one."""

_BIAS_LIMIT = 2**30 - 1


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """Args:
    weight: int8, in the node's own layout.
    scale: float32 (out,), one a channel, positive.
    bias: int32 (out,), at scale ``input scale * scale``.
    """

    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray


def quantize_weights(rows: np.ndarray, bias: np.ndarray, input_scale: float) -> QuantizedWeights:
    """Symmetric int8 weights, one scale a row: ``scale = max |row| / 127``.

    A scale is raised where the bias would not fit 31 bits at it, and is never so small that a runtime's fixed-point
    multiplier would underflow.

    Args:
        rows: float32 (out, n).
        bias: float32 (out,).
        input_scale: scale of the activations that meet the weights.
    """
    scale = np.abs(rows).max(1).astype(np.float64) / 127
    usual = scale[scale > 0].mean() if (scale > 0).any() else 1.0
    # A row of zeros would have scale 0, which readers refuse.
    scale = np.maximum(scale, usual * 1e-4)
    scale = np.maximum(scale, np.abs(bias) / (input_scale * _BIAS_LIMIT))
    scale = np.maximum(scale, 1e-20).astype(np.float32)
    weight = np.clip(np.rint(rows / scale[:, None]), -127, 127).astype(np.int8)
    step = scale.astype(np.float64) * np.float32(input_scale)
    whole = np.clip(np.rint(bias / step), -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32)
    return QuantizedWeights(weight, scale, whole)


def quantize_head(
    head: Head,
    features: np.ndarray,
    feature_scale: float,
    feature_zero_point: int = 0,
    logits: tuple[float, float] = (0.0, 0.0),
    real: np.ndarray | None = None,
    softmax: bool = False,
) -> QuantizedHead:
    """int8 form of a head, its activation ranges measured on the feature bank.

    The logits cover the greatest value seen on the bank: clipping would make the greatest ones equal, and those
    decide. The hidden layer is chosen like an activation of the backbone.

    Args:
        features: int8 (n, d), as the int8 backbone emits them.
        feature_scale, feature_zero_point: of the backbone's features tensor.
        logits: an interval to cover as well, for a bank whose images show none of the head's classes.
        real: the features dequantised, float32 (n, d), where they are at hand.
        softmax: whether a softmax follows. Then logits too low to matter to it share the least step
            (``softmax_floor``), and the others get finer ones: fewer ties at the top. Else all are covered.

    Raises:
        InputError: features of another shape or dtype.
    """
    if not isinstance(features, np.ndarray) or features.dtype != np.int8 or features.ndim != 2 or not len(features):
        raise InputError(f"features must be a non-empty int8 array (n, {head.n_features})")
    if features.shape[1] != head.n_features:
        raise InputError(f"features have shape {features.shape}; the head reads (n, {head.n_features})")
    source = Quantization(float(np.float32(feature_scale)), int(feature_zero_point))
    x, scale, layers = source.dequantize(features) if real is None else real, source.scale, []
    for index, layer in enumerate(head.layers):
        last = index + 1 == len(head.layers)
        found = quantize_weights(layer.weight, layer.bias, scale)
        x = x @ layer.weight.T + layer.bias
        if not last:
            x = np.maximum(x, np.float32(0))
        if last:
            low = softmax_floor(x) if softmax else x.min()
            result = from_interval(min(low, logits[0]), max(x.max(), logits[1]))
        else:
            result = _least_error(x)
        layers.append(QuantizedLayer(found.weight, found.scale, found.bias, result.scale, result.zero_point))
        scale = result.scale
    return QuantizedHead(head.labels, source.scale, source.zero_point, tuple(layers))


def softmax_floor(logits: np.ndarray) -> float:
    """To which value lower logits may be raised, so that no image's softmax scores lose over SATURATION of themselves.

    Raising the logits l of an image to L adds sum(max(exp(L) - exp(l), 0)) to the denominator of its softmax.

    Args:
        logits: float32 (n, k).

    Returns:
        The greatest such value up to the least of the images' best logits, found by bisection to 1/256 of that range.
    """
    best = logits.max(1)
    low, high = float(logits.min()), float(best.min())
    # Classes first: numpy reduces a long last axis many times faster than a short one.
    powers = np.exp(np.ascontiguousarray(logits.T) - best)
    allowed = np.float32(SATURATION) * powers.sum(0)
    for _ in range(8):
        middle = (low + high) / 2
        over = np.maximum(np.exp(np.float32(middle) - best) - powers, 0).sum(0) > allowed
        if over.any():
            # Only images that are over can be the ones that hold the floor down.
            high, best, powers, allowed = middle, best[over], powers[:, over], allowed[over]
        else:
            low = middle
    return low


def _least_error(x: np.ndarray) -> Quantization:
    histogram = Histogram()
    histogram.widen(x)
    histogram.add(x)
    return choose(histogram)
