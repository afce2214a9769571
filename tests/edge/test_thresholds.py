"""Thresholds from photos: the highest that the share asked for still reaches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_edge.compiler.thresholds import thresholds_from

LABELS = ("a", "b", "c")


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 1), st.booleans(), st.integers(1, 60))
def test_a_threshold_keeps_the_share_and_no_higher_one_does(seed, keep, multi_label, n):
    rng = np.random.default_rng(seed)
    scores, true = rng.random((n, 3)), rng.integers(0, 3, n)
    for row in thresholds_from(scores, true, LABELS, keep, multi_label):
        c = LABELS.index(row.name)
        answered = (true == c) & (multi_label | (scores.argmax(1) == c))
        assert row.photos == (true == c).sum()
        assert row.answered == answered.sum()
        if row.threshold is None:
            assert not answered.any()
            assert row.taken == 0
            continue
        assert row.kept == (scores[answered, c] >= row.threshold).sum()
        assert row.kept >= keep * row.answered - 1e-6
        assert (scores[answered, c] >= row.threshold + 1e-4).sum() < max(1, np.ceil(keep * row.answered - 1e-9))


def test_of_a_multi_label_model_every_photo_of_the_folder_counts():
    scores = np.array([[0.6, 0.9], [0.4, 0.8], [0.7, 0.95]])
    (row,) = thresholds_from(scores, np.zeros(3, int), LABELS, 0.66, True)
    assert (row.threshold, row.answered, row.kept) == (pytest.approx(0.6), 3, 2)
    (row,) = thresholds_from(scores, np.zeros(3, int), LABELS, 0.66, False)
    assert (row.threshold, row.answered) == (None, 0)
