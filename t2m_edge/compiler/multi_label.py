"""Multi-label heads: each description is a question of its own, so its score needs a level of its own.

The hypernetwork's logits say which class of a task fits best; one alone has no zero. The pack's feature bank gives it
one: a class's logit is measured against those of the bank's images, which show all kinds of things.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from t2m_runtime import Head, Layer

LEVEL = 1.0
"""Standard deviations above the bank's mean at which a score is 0.5: about one image of the bank in six lies there."""
STEEPNESS = 2.0
"""Change of the sigmoid's input over one standard deviation."""


def with_levels(head: Head, features: np.ndarray) -> Head:
    """The head whose logit is ``STEEPNESS * (z - LEVEL)``, z the old logit standardised over the bank.

    Order of the images for a class stays, so that its AUC does too.

    Args:
        features: float32 (n, d), the bank's.
    """
    logits = head.logits(features)
    mean, spread = logits.mean(0), np.maximum(logits.std(0), 1e-6)
    last = head.layers[-1]
    gain = (STEEPNESS / spread).astype(np.float32)
    bias = gain * (last.bias - mean) - np.float32(STEEPNESS * LEVEL)
    layer = Layer((last.weight * gain[:, None]).astype(np.float32), bias.astype(np.float32))
    return replace(head, layers=(*head.layers[:-1], layer))
