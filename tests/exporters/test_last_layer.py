"""Rows in the form that a file stores them: old numbers stay, new rows are rounded to the same form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_exporters.last_layer import Rows, more_entries
from t2m_runtime.errors import InputError


def float_rows(dtype="float32", k=4, d=6, bias=True) -> Rows:
    rng = np.random.default_rng(0)
    return Rows(rng.normal(size=(k, d)).astype(dtype), rng.normal(size=k).astype(dtype) if bias else None)


def int8_rows(per_row: bool, dtype="int8", k=4, d=6) -> Rows:
    rng = np.random.default_rng(1)
    zero = 0 if dtype == "int8" else 120
    weight = rng.integers(-100, 100, (k, d)) + (zero if dtype == "uint8" else 0)
    count = k if per_row else 1
    return Rows(
        np.clip(weight, *((-128, 127) if dtype == "int8" else (0, 255))).astype(dtype),
        rng.integers(-1000, 1000, k).astype(np.int32),
        np.linspace(0.01, 0.02, count).astype(np.float32),
        np.full(count, zero),
        0.05,
    )


@pytest.mark.parametrize("rows", [float_rows("float32"), float_rows("float16"), int8_rows(True), int8_rows(False)])
def test_old_numbers_stay_bit_for_bit(rows):
    more, _ = rows.with_rows(np.ones((2, 6)) / 3, np.array([0.1, -0.2]))
    assert more.weight.dtype == rows.weight.dtype
    assert more.bias.dtype == rows.bias.dtype
    np.testing.assert_array_equal(more.weight[:4], rows.weight)
    np.testing.assert_array_equal(more.bias[:4], rows.bias)
    if rows.scale is not None:
        np.testing.assert_array_equal(more.scale[: len(rows.scale)], rows.scale)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["int8", "uint8"]))
def test_a_new_row_that_fits_is_off_by_half_a_step_at_most(seed, per_row, dtype):
    rows = int8_rows(per_row, dtype)
    rng = np.random.default_rng(seed)
    weight, bias = rng.uniform(-0.9, 0.9, (3, 6)), rng.uniform(-2, 2, 3)
    more, clipped = rows.with_rows(weight, bias)
    found, offset = more.real()
    step = np.broadcast_to(more.scale if len(more.scale) == 1 else more.scale[4:], 3).astype(np.float64)
    assert clipped == 0
    assert (np.abs(found[4:] - weight) <= 0.5001 * step[:, None]).all()
    assert (np.abs(offset[4:] - bias) <= 0.5001 * step * rows.input_scale).all()


def test_weights_beyond_one_scale_for_all_are_clipped_and_counted():
    rows = int8_rows(False)
    more, clipped = rows.with_rows(np.array([[9.0, -9.0, 0.1, 0.2, 0.3, 0.4]]), np.zeros(1))
    assert clipped == 2
    assert more.weight[4, :2].tolist() == [127, -128]
    np.testing.assert_allclose(more.real()[0][4, 2:], [0.1, 0.2, 0.3, 0.4], atol=0.006)


def test_a_new_rows_own_scale_uses_the_steps_that_the_old_rows_use():
    old = int8_rows(True)
    seven_bits = Rows(np.clip(old.weight, -64, 64), old.bias, old.scale, old.zero_point, old.input_scale)
    more, clipped = seven_bits.with_rows(np.array([[5.0, 1, 0, 0, 0, -5.0]]), np.zeros(1))
    assert clipped == 0
    assert np.abs(more.weight[4].astype(int)).max() == 64


def test_a_layer_without_a_bias_stays_so():
    more, _ = float_rows(bias=False).with_rows(np.ones((1, 6)), np.ones(1))
    assert more.bias is None
    assert more.real()[1].tolist() == [0] * 5


@pytest.mark.parametrize(
    "change, said",
    [
        ({"weight": np.zeros((1, 6), np.float32)}, "shape"),
        ({"weight": np.zeros((4, 6), np.int16)}, "int16"),
        ({"weight": np.full((4, 6), np.nan, np.float32)}, "not finite"),
        ({"bias": np.zeros(3, np.float32)}, "4 rows and a bias"),
        ({"bias": np.zeros(4, np.int32)}, "no scale"),
        ({"scale": np.ones(1, np.float32), "zero_point": np.zeros(1, np.int64)}, "floats with one"),
    ],
)
def test_what_cannot_be_rows_is_refused(change, said):
    facts = {"weight": np.zeros((4, 6), np.float32), "bias": np.zeros(4, np.float32)}
    with pytest.raises(InputError, match=said):
        Rows(**(facts | change))


def test_a_shape_keeps_its_other_entries():
    assert more_entries([1, 10, -1], 10, 12) == [1, 12, -1]
