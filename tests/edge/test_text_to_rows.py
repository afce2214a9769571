"""From texts to rows: what is learnt from a classifier's own rows, and the calibration of new ones."""

from __future__ import annotations

import numpy as np
import pytest

from t2m_edge.compiler.text_to_rows import calibrated_rows, directed, predict_directions
from t2m_edge.hypernetworks.class_vectors import unit


def case(k: int = 60, n: int = 10, d_text: int = 8, d: int = 20, noise: float = 0.1):
    """Rows that follow from the texts by a smooth map, plus noise."""
    rng = np.random.default_rng(0)
    texts, map_ = unit(rng.normal(size=(k + n, d_text))), rng.normal(size=(d_text, d + 1))
    rows = texts @ map_ + noise * rng.normal(size=(k + n, d + 1))
    return texts[:k], rows[:k, :-1], rows[:k, -1], texts[k:], rows[k:]


def test_rows_that_follow_from_the_texts_are_found():
    texts, weight, bias, new_texts, wanted = case()
    found = predict_directions(texts, weight, bias, new_texts)
    true = directed(wanted - np.r_[weight.mean(0), bias.mean()])
    assert found.cosine > 0.8
    assert (found.new[:, :-1] * true[:, :-1]).sum(1).mean() > 0.8
    np.testing.assert_allclose(np.linalg.norm(found.new[:, :-1], axis=1), 1)


def test_a_left_out_row_is_what_the_others_alone_predict():
    texts, weight, bias, _, _ = case(noise=1.0)
    whole = predict_directions(texts, weight, bias, texts[:1])
    # The closed form keeps the centres of all rows, which one row more or less moves by a sixtieth.
    alone = predict_directions(texts[1:], weight[1:], bias[1:], texts[:1])
    assert (whole.left_out[0, :-1] * alone.new[0, :-1]).sum() > 0.95
    assert (whole.new[0, :-1] * unit(weight[0] - weight.mean(0))).sum() > (
        whole.left_out[0, :-1] * unit(weight[0] - weight.mean(0))
    ).sum()


def test_new_rows_are_as_long_as_the_old_ones_and_lie_under_them_on_photos_of_other_things():
    texts, weight, bias, new_texts, _ = case()
    found = predict_directions(texts, weight, bias, new_texts)
    features = np.random.default_rng(1).normal(size=(400, 20)) * 3
    rows = calibrated_rows(weight, bias, found.new, features)
    mean = weight.mean(0)
    length = np.linalg.norm(weight - mean, axis=1).mean()
    np.testing.assert_allclose(np.linalg.norm(rows.weight - mean, axis=1), length)
    wins = (features @ rows.weight.T + rows.bias).max(1) > (features @ weight.T + bias).max(1)
    assert rows.taken == wins.mean()
    assert 0 < rows.taken < 0.1


def test_where_there_can_be_no_bias_what_is_taken_is_said_without_one():
    texts, weight, _, new_texts, _ = case()
    bias = np.zeros(len(weight))
    found = predict_directions(texts, weight, bias, new_texts)
    features = np.random.default_rng(1).normal(size=(400, 20)) * 3
    rows = calibrated_rows(weight, bias, found.new, features, biased=False)
    assert not rows.bias.any()
    assert rows.taken == ((features @ rows.weight.T).max(1) > (features @ weight.T).max(1)).mean()
    with_one = calibrated_rows(weight, bias, found.new, features)
    assert rows.offset == with_one.offset
    assert rows.taken > with_one.taken


@pytest.mark.parametrize("few, many", [(1, 10), (2, 5)])
def test_without_photos_more_new_classes_get_a_lower_offset(few, many):
    texts, weight, bias, new_texts, _ = case()
    found = predict_directions(texts, weight, bias, new_texts)
    offsets = [calibrated_rows(weight, bias, found.new[:n], None).offset for n in (few, many)]
    assert offsets[1] < offsets[0]
    assert calibrated_rows(weight, bias, found.new, None).taken is None
