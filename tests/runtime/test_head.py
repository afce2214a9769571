"""The head's arithmetic, in float and in int8."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, Layer, QuantizedHead, QuantizedLayer, quantized_multiplier


def random_head(rng: np.random.Generator, sizes: list[int], wide: bool = False) -> QuantizedHead:
    """An int8 head with weights over the whole range and scales that make the outputs spread or saturate."""
    layers = []
    for fan_in, out in ((sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1)):
        spread = 30 if wide else 3
        layers.append(
            QuantizedLayer(
                weight=rng.integers(-128, 128, (out, fan_in), np.int8),
                weight_scale=(rng.uniform(0.2, spread, out) / 127).astype(np.float32),
                bias=rng.integers(-(2**14), 2**14, out).astype(np.int32),
                output_scale=float(np.float32(rng.uniform(0.05, 1.0) * math.sqrt(fan_in) / (1 if wide else 3))),
                output_zero_point=int(rng.integers(-128, 128)),
            )
        )
    labels = tuple(f"class {index}" for index in range(sizes[-1]))
    return QuantizedHead(
        labels, float(np.float32(rng.uniform(0.001, 0.1))), int(rng.integers(-128, 128)), tuple(layers)
    )


def litert_logits(model: bytes, features: np.ndarray, reference: bool) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=model, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    feed, fetch = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    rows = []
    for row in features:
        interpreter.set_tensor(feed, row[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(fetch)[0])
    return np.stack(rows)


@pytest.mark.parametrize("sizes", [[3, 2], [256, 1000], [512, 5], [514, 7], [1280, 10], [64, 32, 10], [600, 1, 3]])
@pytest.mark.parametrize("seed", range(4))
def test_int8_head_equals_the_reference_kernels_bit_for_bit(models, sizes, seed):
    rng = np.random.default_rng([seed, *sizes])
    head = random_head(rng, sizes, wide=seed == 3)
    features = rng.integers(-128, 128, (50, sizes[0]), np.int8)
    features[0], features[1] = -128, 127
    expected = litert_logits(models.head_tflite(head), features, reference=True)
    np.testing.assert_array_equal(head.logits_int8(features), expected)
    assert len(np.unique(expected)) > 1


def test_int8_head_reproduces_saturation_and_tiny_multipliers(models):
    rng = np.random.default_rng(7)
    layer = QuantizedLayer(
        weight=rng.integers(-128, 128, (6, 40), np.int8),
        weight_scale=np.array([0, 1e-8, 1e-4, 0.01, 1.0, 50.0], np.float32),
        bias=np.array([0, 5, -7, 2**20, -(2**20), 1], np.int32),
        output_scale=0.01,
        output_zero_point=-3,
    )
    head = QuantizedHead(tuple("abcdef"), 0.02, 11, (layer,))
    features = rng.integers(-128, 128, (60, 40), np.int8)
    expected = litert_logits(models.head_tflite(head), features, reference=True)
    np.testing.assert_array_equal(head.logits_int8(features), expected)


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(2, 8))
@settings(max_examples=30, deadline=None)
def test_int8_head_equals_the_reference_kernels_for_any_weights(models, seed, width, k):
    rng = np.random.default_rng(seed)
    head = random_head(rng, [width, k])
    features = rng.integers(-128, 128, (4, width), np.int8)
    expected = litert_logits(models.head_tflite(head), features, reference=True)
    np.testing.assert_array_equal(head.logits_int8(features), expected)


def test_logits_of_an_int8_head_are_its_steps_times_the_scale():
    head = random_head(np.random.default_rng(1), [8, 4])
    features = np.random.default_rng(2).integers(-128, 128, (5, 8), np.int8)
    last = head.layers[-1]
    steps = head.logits_int8(features).astype(np.float64) - last.output_zero_point
    np.testing.assert_allclose(head.logits(features), steps * last.output_scale, rtol=1e-6)
    assert head.logits(features).dtype == np.float32


@given(st.floats(2**-31, 2**29))
def test_quantized_multiplier_keeps_31_bits(scale):
    multiplier, shift = quantized_multiplier(scale)
    assert 2**30 <= multiplier < 2**31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(scale, rel=2**-30)


def test_quantized_multiplier_at_its_ends():
    assert quantized_multiplier(0.0) == (0, 0)
    assert quantized_multiplier(1e-12) == (0, 0)
    assert quantized_multiplier(1e12) == (2**31 - 1, 30)
    assert quantized_multiplier(1 - 2**-53) == (2**30, 1)


def test_float_head_is_linear():
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    features = rng.normal(size=(3, 6)).astype(np.float32)
    logits = Head(tuple("abcd"), (Layer(weight, bias),)).logits(features)
    np.testing.assert_allclose(logits, features @ weight.T + bias, rtol=1e-6)
    assert logits.dtype == np.float32


def test_hidden_layer_of_a_float_head_has_a_relu_and_the_last_has_none():
    hidden = Layer(np.array([[1.0], [-1.0]], np.float32), np.zeros(2, np.float32))
    last = Layer(np.array([[-1.0, 0.0], [0.0, 2.0]], np.float32), np.zeros(2, np.float32))
    logits = Head(("a", "b"), (hidden, last)).logits(np.array([[3.0], [-3.0]], np.float32))
    np.testing.assert_array_equal(logits, [[-3.0, 0.0], [0.0, 6.0]])


LAYER = Layer(np.ones((2, 3), np.float32), np.zeros(2, np.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Layer(np.ones((2, 3)), np.zeros(2, np.float32)),
        lambda: Layer([[1.0]], np.zeros(1, np.float32)),
        lambda: Layer(np.ones((2, 3), np.float32), np.zeros(3, np.float32)),
        lambda: Layer(np.full((2, 3), np.nan, np.float32), np.zeros(2, np.float32)),
        lambda: Layer(np.ones((2, 0), np.float32), np.zeros(2, np.float32)),
        lambda: Head(("a",), (LAYER,)),
        lambda: Head(("a", "b"), ()),
        lambda: Head(("a", "b"), (LAYER, LAYER)),
        lambda: Head(["a", "b"], (LAYER,)),
        lambda: quantized(weight=np.ones((2, 3), np.int32)),
        lambda: quantized(weight_scale=np.array([1, -1], np.float32)),
        lambda: quantized(weight_scale=np.array([1, np.inf], np.float32)),
        lambda: quantized(weight_scale=np.ones(1, np.float32)),
        lambda: quantized(bias=np.array([-(2**31), 0], np.int32)),
        lambda: quantized(output_scale=0.0),
        lambda: quantized(output_scale=math.nan),
        lambda: quantized(output_scale="1"),
        lambda: quantized(output_zero_point=128),
        lambda: quantized(output_zero_point=0.5),
    ],
)
def test_heads_that_do_not_fit_together_are_refused(make):
    with pytest.raises(InputError):
        make()


def quantized(**changes) -> QuantizedLayer:
    values = {
        "weight": np.ones((2, 3), np.int8),
        "weight_scale": np.ones(2, np.float32),
        "bias": np.zeros(2, np.int32),
        "output_scale": 1.0,
        "output_zero_point": 0,
    }
    return QuantizedLayer(**{**values, **changes})


@pytest.mark.parametrize(
    "features", [np.zeros((2, 4), np.float32), np.zeros(3, np.float32), np.zeros((2, 3), np.int8), [[1.0, 2.0, 3.0]]]
)
def test_features_of_another_kind_are_refused(features):
    with pytest.raises(InputError, match="features"):
        Head(("a", "b"), (LAYER,)).logits(features)
    if getattr(features, "shape", None) != (2, 3):
        with pytest.raises(InputError, match="features"):
            QuantizedHead(("a", "b"), 1.0, 0, (quantized(),)).logits_int8(features)
