"""Accuracy of rows that score features: mean per-class top-1 over all classes, over drawn 5-way tasks, over pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np


def per_class_accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over classes of the share of their images whose greatest logit is theirs. logits (n, k), labels (n,)."""
    right = logits.argmax(1) == labels
    return float(np.mean([right[labels == c].mean() for c in np.unique(labels)]))


def drawn_tasks_accuracy(logits: np.ndarray, labels: np.ndarray, ways: int, tasks: int = 200, seed: int = 0) -> float:
    """Mean per-class top-1 over ``tasks`` random choices of ``ways`` of the k classes; all pairs where ways is 2.

    The logits of a class must not depend on the other classes (rows fixed for all k); otherwise compile each task.
    """
    k = logits.shape[1]
    by_class = [logits[labels == c] for c in range(k)]
    rng = np.random.default_rng(seed)
    chosen = combinations(range(k), 2) if ways == 2 else (rng.choice(k, ways, replace=False) for _ in range(tasks))
    scores = []
    for task in chosen:
        columns = np.array(task)
        scores.append(np.mean([(by_class[c][:, columns].argmax(1) == i).mean() for i, c in enumerate(columns)]))
    return float(np.mean(scores))
