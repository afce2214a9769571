"""Generalised zero-shot accuracy: seen and unseen classes in one task (Xian et al., TPAMI 2019, section 3.2).

Without calibration every method names seen classes nearly always. The calibration (Chao et al., ECCV 2016) takes a
constant off the seen classes' logits. Rule for the constant: it is the one that gives the best harmonic mean inside the
seen classes, where a quarter of them plays the unseen ones and a fifth of the other classes' images is held out of the
fit; it is measured in standard deviations of the logits, so that it carries over from that fit to the final one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from t2m_edge.evaluation.methods.method import Method, Scores, Seen
from t2m_edge.evaluation.metrics import per_class_accuracy
from t2m_edge.evaluation.protocol import Problem, inner_problems, unseen_texts

CONSTANTS = np.linspace(-1, 4, 101)
HELD_IMAGES = 5


@dataclass(frozen=True)
class Generalised:
    """Mean per-class top-1 in percent of unseen (u) and seen (s) classes and their harmonic mean."""

    unseen: float
    seen: float

    @property
    def harmonic(self) -> float:
        """2 u s / (u + s)."""
        return 2 * self.unseen * self.seen / max(self.unseen + self.seen, 1e-9)


def generalised(
    method: Method, problem: Problem, condition: str, settings: dict[str, Any], seed: int
) -> tuple[Generalised, Generalised]:
    """Accuracy without and with calibration; the problem must have ``seen_test``."""
    inner = inner_problems(problem, 1)[0]
    held = np.arange(len(inner.seen.labels)) % HELD_IMAGES == 0
    kept = replace(inner.seen, features=inner.seen.features[~held], labels=inner.seen.labels[~held])
    inner = replace(inner, seen=kept, seen_test=(inner.seen.features[held], inner.seen.labels[held]))
    joint = Joint(method.fit(replace(kept, condition=condition), seed, **settings), inner, condition)
    constant = max(CONSTANTS, key=lambda c: joint.accuracy(c).harmonic)
    fitted = method.fit(replace(problem.seen, condition=condition), seed, **settings)
    joint = Joint(fitted, problem, condition)
    return joint.accuracy(0.0), joint.accuracy(constant)


class Joint:
    """Logits of seen and unseen test images for seen and unseen classes together."""

    def __init__(self, scores: Scores, problem: Problem, condition: str) -> None:
        assert problem.seen_test is not None
        known: Seen = replace(problem.seen, condition=condition)
        self._count = len(known.names)
        texts = np.concatenate([known.texts.astype(np.float32), unseen_texts(problem, condition)[0]])
        features = np.concatenate([problem.seen_test[0], problem.unseen.features])
        logits = scores(features, texts)
        self._logits = logits / logits.std()
        self._labels = np.concatenate([problem.seen_test[1], problem.unseen.labels + self._count])
        self._is_seen = self._labels < self._count

    def accuracy(self, constant: float) -> Generalised:
        """With ``constant`` standard deviations taken off the seen classes' logits."""
        logits = self._logits.copy()
        logits[:, : self._count] -= constant
        parts = (per_class_accuracy(logits[rows], self._labels[rows]) for rows in (~self._is_seen, self._is_seen))
        return Generalised(*(100 * p for p in parts))
