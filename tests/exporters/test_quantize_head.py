"""int8 weights and heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from t2m_exporters.graph import run
from t2m_exporters.parity import head_parity
from t2m_exporters.quantize import UNIT
from t2m_exporters.quantize_head import quantize_head, quantize_weights, softmax_floor
from t2m_runtime.errors import InputError
from t2m_runtime.head import softmax

rows = hnp.arrays(np.float32, (4, 6), elements=st.floats(-100, 100, width=32))
biases = hnp.arrays(np.float32, (4,), elements=st.floats(-1e6, 1e6, width=32))


@given(rows, biases, st.floats(1e-6, 10))
def test_weights_are_symmetric_within_half_a_step_and_biases_fit(rows, bias, input_scale):
    found = quantize_weights(rows, bias, input_scale)
    assert found.weight.dtype == np.int8 and found.weight.min() >= -127
    assert found.scale.dtype == np.float32 and (found.scale > 0).all()
    assert np.abs(found.bias.astype(np.int64)).max() < 2**30
    scale = found.scale.astype(np.float64)
    assert (np.abs(found.weight * scale[:, None] - rows) <= 0.501 * scale[:, None]).all()
    step = scale * np.float32(input_scale)
    assert (np.abs(found.bias * step - bias) <= 0.501 * step + 1e-4 * np.abs(bias)).all()


def test_each_row_has_its_own_scale_and_uses_all_steps():
    rows = np.float32([[0.001, -0.0005], [10, -20]])
    found = quantize_weights(rows, np.zeros(2, np.float32), 0.1)
    assert np.abs(found.weight).max(1).tolist() == [127, 127]


def test_a_row_of_zeros_gets_a_scale():
    found = quantize_weights(np.float32([[0, 0], [1, 2]]), np.float32([0.5, 0]), 0.1)
    assert found.scale[0] > 0 and not found.weight[0].any()
    assert found.bias[0] * found.scale[0] * 0.1 == pytest.approx(0.5, rel=1e-2)


@pytest.fixture(scope="module")
def bank(graph, make):
    """int8 (300, 32): features of the float graph, rounded."""
    return UNIT.quantize(run(graph, make.pictures(300, 48, seed=4), ["unit"])["unit"])


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("k", [2, 20, 1000])
def test_int8_heads_agree_with_float_heads(make, bank, k, hidden):
    head = make.head(k, 32, hidden)
    found = quantize_head(head, bank, UNIT.scale, UNIT.zero_point)
    parity = head_parity(head, found, bank)
    # Two classes have one difference, which rounds to 0 where it is small: that counts as cosine 0.
    assert parity.cosine > (0.98 if k == 2 else 0.999)
    assert parity.max_abs < 4 * found.layers[-1].output_scale
    assert parity.top1_agreement >= (0.85 if k == 1000 else 0.95)


@pytest.mark.parametrize("k", [2, 20, 1000])
def test_low_logits_share_a_step_where_no_score_moves_by_over_a_hundredth(make, bank, k):
    head = make.head(k, 32)
    whole, finer = (quantize_head(head, bank, UNIT.scale, softmax=how) for how in (False, True))
    assert finer.layers[0].output_scale < whole.layers[0].output_scale * (1.001 if k == 2 else 0.95)
    real = UNIT.dequantize(bank)
    logits, floor = head.logits(real), softmax_floor(head.logits(real))
    exact, raised = softmax(logits), softmax(np.maximum(logits, floor))
    kept = logits >= floor
    assert kept.any(1).all() and (np.abs(raised - exact)[kept] <= 0.0101 * exact[kept]).all()
    assert head_parity(head, finer, bank).top1_agreement >= head_parity(head, whole, bank).top1_agreement - 0.01


def test_logits_of_thousands_of_units_are_no_trouble():
    logits = np.array([[-5000, 0, 3000], [-4000, -3500, -3000]], np.float32)
    assert -5000 <= softmax_floor(logits) < -3000
    assert softmax_floor(np.zeros((3, 4), np.float32)) == 0


def test_a_head_with_a_class_that_is_all_bias_is_quantised(make, bank):
    head = make.head(5, 32)
    head.layers[0].weight[2] = 0
    found = quantize_head(head, bank, UNIT.scale)
    assert head_parity(head, found, bank).max_abs < 3 * found.layers[0].output_scale


def test_permuting_the_classes_permutes_the_rows_only(make, bank):
    head, order = make.head(9, 32), np.random.default_rng(0).permutation(9)
    layer = head.layers[0]
    shuffled = replace(head, layers=(replace(layer, weight=layer.weight[order], bias=layer.bias[order]),))
    a, b = (quantize_head(h, bank, UNIT.scale).layers[0] for h in (head, shuffled))
    np.testing.assert_array_equal(a.weight[order], b.weight)
    np.testing.assert_array_equal(a.bias[order], b.bias)
    assert (a.output_scale, a.output_zero_point) == (b.output_scale, b.output_zero_point)


@pytest.mark.parametrize("bad", [np.zeros((3, 32), np.float32), np.zeros((0, 32), np.int8), np.zeros((3, 31), np.int8)])
def test_features_of_another_form_are_refused(make, bad):
    with pytest.raises(InputError):
        quantize_head(make.head(3, 32), bad, UNIT.scale)
