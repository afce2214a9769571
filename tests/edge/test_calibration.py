"""Fitting a temperature and the accuracy to expect, on toy tasks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from t2m_edge.evaluation.calibration import Drawn, calibration_error, fit
from t2m_edge.evaluation.metrics import per_class_accuracy
from t2m_runtime import Head, Layer
from t2m_runtime.head import softmax


def drawn(ways: int, rng: np.random.Generator, sharper: float = 1.0, images: int = 400) -> Drawn:
    """A task whose labels are drawn from the softmax of its logits; the head then says ``sharper`` times as much."""
    rows = rng.standard_normal((ways, 8)).astype(np.float32)
    x = rng.standard_normal((images, 8)).astype(np.float32) / 2
    chance = softmax(x @ rows.T).cumsum(1)
    labels = np.minimum((chance < rng.random((images, 1))).sum(1), ways - 1)
    names = tuple(f"class {i}" for i in range(ways))
    return Drawn(Head(names, (Layer(rows * np.float32(sharper), np.zeros(ways, np.float32)),)), x, labels)


def tasks(sharper: float) -> dict[str, list[Drawn]]:
    rng = np.random.default_rng(0)
    return {name: [drawn(k, rng, sharper) for k in (2, 3, 5, 8, 12) for _ in range(6)] for name in ("one", "two")}


@pytest.mark.parametrize("sharper", [0.6, 1.0, 2.0])
def test_the_temperature_undoes_what_the_logits_say_too_much(sharper: float) -> None:
    found = fit(tasks(sharper))
    assert found.temperature == pytest.approx(sharper, rel=0.1)
    task = drawn(5, np.random.default_rng(9), sharper, 5000)
    assert calibration_error(softmax(task.logits / found.temperature), task.labels) < 0.03


def test_four_of_five_tasks_lie_in_the_stated_range() -> None:
    model, rng = fit(tasks(1.0)).accuracy, np.random.default_rng(1)
    inside = []
    for ways in (2, 4, 6, 10):
        for _ in range(25):
            task = drawn(ways, rng)
            rows = task.head.layers[0].weight
            unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
            mean = ((unit @ unit.T).sum() - ways) / (ways * (ways - 1))
            _, low, high = model.expected(ways, float(mean))
            inside.append(low <= per_class_accuracy(task.logits, task.labels) <= high)
    assert 0.6 < np.mean(inside) < 0.98


def test_scores_that_are_always_right_or_wrong_by_what_they_say_have_no_error() -> None:
    sure, labels = np.tile([0.75, 0.25], (400, 1)), (np.arange(400) % 4 == 0).astype(int)
    assert calibration_error(sure, labels) == pytest.approx(0, abs=1e-9)
    assert calibration_error(sure, 1 - labels) == pytest.approx(0.5)
