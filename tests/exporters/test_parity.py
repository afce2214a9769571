"""Parity figures."""

from __future__ import annotations

import numpy as np
import pytest

from t2m_exporters.parity import compare
from t2m_runtime.errors import InputError


def test_equal_logits_agree_wholly():
    x = np.random.default_rng(0).normal(0, 1, (10, 4)).astype(np.float32)
    found = compare(x, x)
    assert (found.max_abs, found.mean_abs, found.top1_agreement, found.images) == (0, 0, 1, 10)
    assert found.cosine == pytest.approx(1)


def test_the_figures_are_what_their_names_say():
    expected = np.float32([[3, 1], [0, 2], [5, 4], [1, 0]])
    found = compare(expected, np.float32([[3, 1], [0, 2], [4, 5], [1, 0.5]]))
    assert found.max_abs == 1
    assert found.mean_abs == pytest.approx(2.5 / 8)
    assert found.top1_agreement == 0.75
    assert found.cosine == pytest.approx(0.5)


def test_choosing_another_of_two_equal_best_classes_agrees():
    assert compare(np.float32([[2, 2, 0]]), np.float32([[1, 2, 0]])).top1_agreement == 1


def test_classes_that_stand_by_themselves_agree_where_both_say_present():
    expected = np.float32([[3, -1], [1, 2], [-5, 4], [-1, 0.1]])
    found = compare(expected, np.float32([[2, -1], [1, 2.5], [-5, 4], [-1, -0.1]]), level=0.0)
    assert found.top1_agreement == 7 / 8
    one = compare(expected[:, :1], expected[:, :1] + 0.5, level=0.0)
    assert (one.cosine, one.top1_agreement) == (pytest.approx(1), 1)


def test_tables_of_other_shapes_are_refused():
    with pytest.raises(InputError):
        compare(np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32))
