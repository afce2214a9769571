"""Activation ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_exporters.ranges import METHODS, Histogram, Quantization, choose, from_interval

finite = st.floats(-1e6, 1e6, width=32)


def histogram(x: np.ndarray) -> Histogram:
    found = Histogram()
    for add in (found.widen, found.add):
        for part in np.array_split(x, min(3, len(x))):
            add(part)
    return found


@given(finite, finite)
def test_zero_is_a_step_and_the_interval_is_covered(a, b):
    found = from_interval(min(a, b), max(a, b))
    assert found.dequantize(np.array([found.zero_point], np.int8))[0] == 0
    assert -128 <= found.zero_point <= 127 and found.scale > 0
    for end in (min(a, b, 0), max(a, b, 0)):
        assert abs(found.dequantize(found.quantize(np.float32([end])))[0] - end) <= 1.01 * found.scale + 1e-6


@given(st.lists(finite, min_size=1, max_size=50), st.sampled_from(METHODS))
def test_every_method_gives_a_valid_quantisation(values, method):
    found = choose(histogram(np.float32(values)), method)
    assert np.isfinite(found.scale) and found.scale > 0 and -128 <= found.zero_point <= 127


@pytest.mark.parametrize("method", METHODS)
def test_values_that_start_at_zero_use_all_steps(method):
    x = np.abs(np.random.default_rng(0).normal(0, 1, 9999)).astype(np.float32)
    x[0] = 0
    assert choose(histogram(x), method).zero_point == -128


def test_minmax_covers_everything_and_the_others_clip_an_outlier():
    x = np.random.default_rng(0).normal(0, 1, 100_000).astype(np.float32)
    x[0] = 30
    spans = {method: choose(histogram(x), method).scale for method in METHODS}
    assert spans["minmax"] == pytest.approx((x.max() - x.min()) / 255, rel=1e-3)
    assert spans["percentile"] < spans["mse"] < spans["norm"] < spans["minmax"]


def test_mse_has_the_least_squared_error():
    x = np.random.default_rng(0).laplace(0, 1, 100_000).astype(np.float32)
    errors = {}
    for method in METHODS:
        found = choose(histogram(x), method)
        errors[method] = np.square(found.dequantize(found.quantize(x)) - x).mean()
    assert errors["mse"] == min(errors.values())


def test_a_constant_tensor_is_kept():
    found = choose(histogram(np.full(100, 3.0, np.float32)))
    assert abs(found.dequantize(found.quantize(np.float32([3]))) - 3) < 0.02


def test_a_zero_tensor_gets_a_valid_scale():
    assert choose(histogram(np.zeros(100, np.float32))).scale > 0


def test_quantising_what_was_dequantised_changes_nothing():
    found = Quantization(0.037, -11)
    steps = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(found.quantize(found.dequantize(steps)), steps)
