"""The head: features -> logits, in float32 and exactly as an int8 FULLY_CONNECTED computes it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from t2m_runtime.errors import InputError

MAX_LABELS = 10_000
"""Most classes that a head may tell apart."""
MAX_FEATURES = 16_384
"""Most inputs of a layer: int32 accumulators cannot overflow (255 * 128 * 16384 < 2**30)."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One fully connected layer: ``y = x @ weight.T + bias``.

    Args:
        weight: float32 (out, in).
        bias: float32 (out,).
    """

    weight: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        _check_array("weight", self.weight, np.float32, 2)
        _check_array("bias", self.bias, np.float32, 1)
        _check_layer(self.weight, self.bias)
        if not (np.isfinite(self.weight).all() and np.isfinite(self.bias).all()):
            raise InputError("the head has weights that are not finite numbers; make it again")


@dataclass(frozen=True, eq=False)
class Head:
    """The generated target model in float32: linear (one layer), or a hidden ReLU layer first (two).

    Args:
        labels: class names, in the order of the logits.
        layers: one or two layers; the last one has a row for each label.
    """

    labels: tuple[str, ...]
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        _check_stack(self.labels, self.layers)

    @property
    def n_features(self) -> int:
        """Length of the feature vector that the head reads."""
        return self.layers[0].weight.shape[1]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Class scores before softmax.

        Args:
            features: float32 (n, n_features).

        Returns:
            float32 (n, k).

        Raises:
            InputError: features of another shape or not floating point.
        """
        if not isinstance(features, np.ndarray) or features.dtype.kind != "f":
            raise InputError(f"features are {_kind(features)}; give float32 (n, {self.n_features})")
        _check_features(features, self.n_features)
        x = features.astype(np.float32, copy=False)
        for layer in self.layers[:-1]:
            x = np.maximum(x @ layer.weight.T + layer.bias, np.float32(0))
        last = self.layers[-1]
        return x @ last.weight.T + last.bias


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """One int8 FULLY_CONNECTED layer, weights symmetric and scaled by row, activations asymmetric.

    Args:
        weight: int8 (out, in), zero point 0.
        weight_scale: float32 (out,), positive.
        bias: int32 (out,), at scale ``input scale * weight_scale``, zero point 0.
        output_scale: positive; rounded to float32, as the formats store it.
        output_zero_point: -128 to 127.
    """

    weight: np.ndarray
    weight_scale: np.ndarray
    bias: np.ndarray
    output_scale: float
    output_zero_point: int

    def __post_init__(self) -> None:
        _check_array("weight", self.weight, np.int8, 2)
        _check_array("weight_scale", self.weight_scale, np.float32, 1)
        _check_array("bias", self.bias, np.int32, 1)
        _check_layer(self.weight, self.bias)
        if self.weight_scale.shape != self.bias.shape:
            raise InputError(f"weight_scale has shape {self.weight_scale.shape}; expected {self.bias.shape}")
        # A zero scale is legal: a row whose weights are all zero.
        if not np.isfinite(self.weight_scale).all() or (self.weight_scale < 0).any():
            raise InputError("weight_scale must be finite and not negative; quantise the head again")
        if len(self.bias) and int(np.abs(self.bias.astype(np.int64)).max()) > 2**30:
            raise InputError("a bias is beyond 2**30 and could overflow; quantise the head again")
        check_quantization("output", self.output_scale, self.output_zero_point)

    @cached_property
    def columns(self) -> np.ndarray:
        """The weight as BLAS multiplies it, (in, out): float32 or float64, whichever holds every sum exactly."""
        # Sums of products of small integers are exact in floating point as long as no partial sum passes the mantissa.
        exact = np.float32 if self.weight.shape[1] * 255 * 128 < 2**24 else np.float64
        return np.ascontiguousarray(self.weight.T, exact)


@dataclass(frozen=True, eq=False)
class QuantizedHead:
    """The head in int8: the same numbers as TFLite's reference kernels give, to the last bit.

    Args:
        labels: class names, in the order of the logits.
        input_scale: scale of the int8 features.
        input_zero_point: zero point of the int8 features.
        layers: one layer, or a hidden layer (ReLU) and a last one.
    """

    labels: tuple[str, ...]
    input_scale: float
    input_zero_point: int
    layers: tuple[QuantizedLayer, ...]

    def __post_init__(self) -> None:
        _check_stack(self.labels, self.layers)
        check_quantization("input", self.input_scale, self.input_zero_point)

    @property
    def n_features(self) -> int:
        """Length of the feature vector that the head reads."""
        return self.layers[0].weight.shape[1]

    def logits_int8(self, features: np.ndarray) -> np.ndarray:
        """TFLite's int8 FULLY_CONNECTED: int32 accumulators, then a fixed-point multiplier for each row.

        Args:
            features: int8 (n, n_features), at input_scale and input_zero_point.

        Returns:
            int8 (n, k), at the last layer's output_scale and output_zero_point.

        Raises:
            InputError: features of another shape or dtype.
        """
        x, scale, zero_point = features, self.input_scale, self.input_zero_point
        if len(self.layers) == 2:
            x = self.hidden_int8(features)
            scale, zero_point = self.layers[0].output_scale, self.layers[0].output_zero_point
        else:
            self._check(features)
        return _fully_connected_int8(x, scale, zero_point, self.layers[-1], relu=False)

    def hidden_int8(self, features: np.ndarray) -> np.ndarray:
        """What the hidden layer of a head with two layers gives: int8 (n, hidden)."""
        self._check(features)
        return _fully_connected_int8(features, self.input_scale, self.input_zero_point, self.layers[0], relu=True)

    def _check(self, features: np.ndarray) -> None:
        if not isinstance(features, np.ndarray) or features.dtype != np.int8:
            raise InputError(f"features are {_kind(features)}; give int8 (n, {self.n_features})")
        _check_features(features, self.n_features)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """logits_int8, dequantised.

        Args:
            features: int8 (n, n_features).

        Returns:
            float32 (n, k): ``(q - zero_point) * scale``, as DEQUANTIZE computes it.
        """
        last = self.layers[-1]
        steps = self.logits_int8(features).astype(np.float32) - np.float32(last.output_zero_point)
        return steps * np.float32(last.output_scale)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise softmax, float32 (n, k)."""
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), float32 of the same shape."""
    # exp of a large number would overflow; beyond 80 float32 has no other answer than 1.
    return 1 / (1 + np.exp(-np.clip(logits, -80, 80)))


def scores_of(logits: np.ndarray, scores: str) -> np.ndarray:
    """Logits (n, k) as an OutputSpec's ``scores`` says."""
    return {"softmax": softmax, "sigmoid": sigmoid}.get(scores, np.asarray)(logits)


def check_quantization(what: str, scale: float, zero_point: int) -> None:
    """Raises InputError unless scale is a positive normal float32 and zero_point an int8 value."""
    if not isinstance(scale, (int, float, np.floating)) or isinstance(scale, bool):
        raise InputError(f"the {what} scale is {scale!r}; expected a positive number")
    if not 1e-30 <= float(scale) <= 1e30:
        raise InputError(f"the {what} scale is {scale!r}; expected a number between 1e-30 and 1e30")
    if not isinstance(zero_point, (int, np.integer)) or isinstance(zero_point, bool) or not -128 <= zero_point <= 127:
        raise InputError(f"the {what} zero point is {zero_point!r}; expected a whole number from -128 to 127")


def quantized_multiplier(scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative real numbers as ``multiplier * 2**(shift - 31)`` (TFLite's QuantizeMultiplier).

    Args:
        scale: float64 of any shape, input scale * weight scale / output scale, 0 or more.

    Returns:
        multiplier in [2**30, 2**31) or 0, and shift; int64 of the same shape.
    """
    fraction, shift = np.frexp(scale)
    multiplier = np.floor(fraction * 2**31 + 0.5).astype(np.int64)
    full = multiplier == 2**31
    multiplier, shift = np.where(full, 2**30, multiplier), shift + full
    small, large = (multiplier == 0) | (shift < -31), shift > 30
    multiplier = np.where(small, 0, np.where(large, 2**31 - 1, multiplier))
    return multiplier, np.where(small, 0, np.where(large, 30, shift)).astype(np.int64)


def _fully_connected_int8(
    x: np.ndarray, scale: float, zero_point: int, layer: QuantizedLayer, relu: bool
) -> np.ndarray:
    """x int8 (n, in) -> int8 (n, out)."""
    columns = layer.columns
    # sum((x - zero_point) * w) = sum(x * w) - zero_point * sum(w), every sum exact.
    bias = layer.bias - zero_point * layer.weight.sum(1, dtype=np.int64)
    accumulators = (x.astype(columns.dtype) @ columns).astype(np.int64) + bias
    # One scale counts as "per tensor" in TFLite, where the product of scales is rounded to float32.
    kind = np.float64 if len(layer.bias) > 1 else np.float32
    product = kind(np.float32(scale)) * layer.weight_scale.astype(kind)
    multipliers, shifts = quantized_multiplier(product.astype(np.float64) / float(np.float32(layer.output_scale)))
    scaled = _multiply(accumulators, multipliers, shifts) + layer.output_zero_point
    return np.clip(scaled, layer.output_zero_point if relu else -128, 127).astype(np.int8)


def _multiply(x: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """``x * multiplier * 2**(shift - 31)``, rounded once, half up (MultiplyByQuantizedMultiplier).

    LiteRT's reference kernels round this way. Others differ by one step now and then: its optimised kernels and
    tflite-runtime 2.14 round twice (one output in 2,000 to 20,000), XNNPACK in float (one in 700,000).

    Args:
        x: int64 (n, out) that holds int32 values.
        multiplier: int64 (out,), under 2**31.
        shift: int64 (out,), -31 to 30.

    Returns:
        int64 (n, out) that holds int32 values; they wrap where the multiplier is far above 1, as in C.
    """
    right = 31 - shift
    return ((x * multiplier + (1 << (right - 1))) >> right).astype(np.int32).astype(np.int64)


def _check_array(name: str, array: np.ndarray, dtype: type, ndim: int) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.ndim != ndim:
        raise InputError(f"{name} is {_kind(array)}; expected {np.dtype(dtype)} with {ndim} dimensions")


def _check_layer(weight: np.ndarray, bias: np.ndarray) -> None:
    out, width = weight.shape
    if bias.shape != (out,):
        raise InputError(f"bias has shape {bias.shape}; expected ({out},), one for each row of the weight")
    if not (1 <= out <= MAX_FEATURES and 1 <= width <= MAX_FEATURES):
        raise InputError(f"a layer has weight shape {weight.shape}; expected 1 to {MAX_FEATURES} rows and columns")


def _check_stack(labels: tuple[str, ...], layers: tuple) -> None:
    if not isinstance(labels, tuple) or not all(isinstance(label, str) for label in labels):
        raise InputError("labels must be a tuple of strings")
    if not isinstance(layers, tuple) or len(layers) not in (1, 2):
        raise InputError("a head has one layer (linear) or two (hidden ReLU layer first), as a tuple")
    if not 1 <= len(labels) <= MAX_LABELS:
        raise InputError(f"a head has {len(labels)} labels; expected 1 to {MAX_LABELS}")
    if len(layers) == 2 and layers[1].weight.shape[1] != layers[0].weight.shape[0]:
        raise InputError(
            f"the layers do not fit together: weights {layers[0].weight.shape} then {layers[1].weight.shape}"
        )
    if layers[-1].weight.shape[0] != len(labels):
        raise InputError(f"the last layer has {layers[-1].weight.shape[0]} rows for {len(labels)} labels")


def _check_features(features: np.ndarray, width: int) -> None:
    if features.ndim != 2 or features.shape[1] != width:
        raise InputError(f"features have shape {features.shape}; expected (n, {width})")


def _kind(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
