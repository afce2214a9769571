"""Metrics of the attribute study."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_edge.evaluation.attributes import auc, average_precision


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_in_order_ties_counting_half(pairs):
    scores, positive = np.array([p[0] for p in pairs], float), np.array([p[1] for p in pairs])
    if positive.all() or not positive.any():
        return
    difference = scores[positive][:, None] - scores[~positive][None]
    assert auc(scores, positive) == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean())


def test_average_precision_of_a_ranking():
    found = average_precision(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]))
    assert found == pytest.approx((1 + 2 / 3) / 2)
