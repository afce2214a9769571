"""Ours: the hypernetwork of the packs (t2m_edge/training/head.py) with its committed recipe.

Cosine logits and text noise on a network that adds to a closed-form start.
"""

from __future__ import annotations

import numpy as np
import torch

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.training.head import HeadRecipe, TrainingSet, train_head

OTHERS_WEIGHT = 0.7


def fit(seen: Seen, seed: int = 0, pooled: bool = False, **settings: object) -> Scores:
    """``settings`` are fields of HeadRecipe; ``pooled``: with the classes of the other data sets."""
    sets = [TrainingSet("seen", seen.features, seen.labels, seen.names, seen.sentences)]
    if pooled:
        sets += [moved(other, seen) for other in seen.others]
    model = train_head(sets, HeadRecipe(seed=seed, **settings), seen.centres, None)

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        z = np.concatenate([texts, np.zeros_like(texts)], 1).astype(np.float32)
        with torch.inference_mode():
            return model(torch.from_numpy(z)).logits(torch.from_numpy(features)).numpy()

    return scores


def moved(other: Seen, seen: Seen) -> TrainingSet:
    """Another data set with its texts moved so that both have the same mean texts."""
    name, text = seen.centres.name - other.centres.name, seen.centres.text - other.centres.text
    texts = tuple(s + text for s in other.sentences)
    return TrainingSet(other.dataset, other.features, other.labels, other.names + name, texts, OTHERS_WEIGHT)


METHOD = Method(
    "hypernetwork",
    fit,
    {"noise": (1.0, 2.0, 3.0), "skip_strength": (1.0, 3.0, 10.0)},
    {"noise": 2.0, "skip_strength": 3.0},
    by_condition=False,
    seeded=True,
)
WITH_SET_CONTEXT = Method(
    "hypernetwork with set context",
    lambda seen, seed=0, **s: fit(seen, seed, mixing=True, **s),
    **{"grid": METHOD.grid, "settings": METHOD.settings, "by_condition": False, "seeded": True},
)
POOLED = Method(
    "hypernetwork, pooled",
    lambda seen, seed=0, **s: fit(seen, seed, pooled=True, **s),
    **{"grid": METHOD.grid, "settings": METHOD.settings, "by_condition": False, "seeded": True},
)
