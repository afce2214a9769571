"""How close the int8 head is to the float head, on the features of the bank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead


@dataclass(frozen=True)
class Parity:
    """Differences of two score tables of the same images.

    Args:
        max_abs, mean_abs: absolute differences of the logits, in their own units.
        cosine: mean over the images of the cosine between the two logit vectors, each centred over the classes.
        top1_agreement: share of images whose best class is the same, 0 to 1.
        images: how many were compared.

    Where each class stands by itself (multi-label), cosine is the mean over the classes, each centred over the images,
    and top1_agreement the share of scores on the same side of the level.
    """

    max_abs: float
    mean_abs: float
    cosine: float
    top1_agreement: float
    images: int


def compare(expected: np.ndarray, found: np.ndarray, level: float | None = None) -> Parity:
    """Parity of logits.

    Args:
        expected, found: float32 (n, k).
        level: from which a score says that its class is present, where each class stands by itself.

    A class whose expected logit ties with the best to within float rounding counts as best too.
    """
    if expected.shape != found.shape or expected.ndim != 2 or not expected.size:
        raise InputError(f"logits have shapes {expected.shape} and {found.shape}; expected one shape (n, k)")
    images = len(expected)
    # Classes first: numpy reduces a long last axis many times faster than a short one.
    expected, found = np.ascontiguousarray(expected.T), np.ascontiguousarray(found.T)
    difference = np.abs(expected - found)
    over = 0 if level is None else 1
    a = expected - expected.mean(over, keepdims=True)
    b = found - found.mean(over, keepdims=True)
    lengths = np.sqrt((a * a).sum(over) * (b * b).sum(over))
    # Two constant rows point nowhere: they agree when both are.
    cosine = np.where(lengths > 0, (a * b).sum(over) / np.maximum(lengths, 1e-30), (difference.max(over) == 0))
    if level is not None:
        same = (expected >= level) == (found >= level)
    else:
        chosen = np.take_along_axis(expected, found.argmax(0)[None], 0)[0]
        same = chosen >= expected.max(0) - 1e-6 * np.abs(expected).max(0)
    return Parity(float(difference.max()), float(difference.mean()), float(cosine.mean()), float(same.mean()), images)


def head_parity(
    head: Head,
    quantized: QuantizedHead,
    features: np.ndarray,
    real: np.ndarray | None = None,
    level: float | None = None,
) -> Parity:
    """Float head against int8 head on the same int8 features, so that only the head's own rounding shows.

    Float logits under the least that the int8 head can give count as that one: quantize_head chose it so that softmax
    scores hardly show it.

    Args:
        features: int8 (n, d) at the quantised head's input scale and zero point.
        real: the features dequantised, float32 (n, d), where they are at hand.
        level: as for ``compare``.
    """
    if real is None:
        scale, zero = np.float32(quantized.input_scale), np.float32(quantized.input_zero_point)
        real = (features.astype(np.float32) - zero) * scale
    last = quantized.layers[-1]
    least = np.float32(last.output_scale) * (-128 - last.output_zero_point)
    return compare(np.maximum(head.logits(real), least), quantized.logits(features), level)


def worst_layer(head: Head, written: Head | QuantizedHead, features: np.ndarray) -> str:
    """Where a written head departs from the float one, in words: the layer with the least cosine of its own.

    Args:
        features: int8 (n, d) for a QuantizedHead, else float32 (n, d).
    """
    if len(head.layers) == 1 or isinstance(written, Head):
        return "the head's weights" if isinstance(written, Head) else "the head's logits"
    hidden = written.hidden_int8(features).astype(np.float32)
    first = written.layers[0]
    found = (hidden - np.float32(first.output_zero_point)) * np.float32(first.output_scale)
    real = (features.astype(np.float32) - np.float32(written.input_zero_point)) * np.float32(written.input_scale)
    expected = np.maximum(real @ head.layers[0].weight.T + head.layers[0].bias, 0)
    last = head.layers[1]
    logits = compare(expected @ last.weight.T + last.bias, found @ last.weight.T + last.bias).cosine
    whole = head_parity(head, written, features).cosine
    return "the head's hidden layer" if 1 - logits > (1 - whole) / 2 else "the head's logits"
