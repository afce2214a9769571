"""The accuracy study on an easy problem: images and texts are noisy views of one vector a class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
from t2m_edge.evaluation.frozen_features import transformed
from t2m_edge.evaluation.generalised import generalised
from t2m_edge.evaluation.methods import METHODS
from t2m_edge.evaluation.methods.method import CONDITIONS, Seen
from t2m_edge.evaluation.methods.ours import METHOD as OURS
from t2m_edge.evaluation.methods.ridge_prototypes import METHOD as L
from t2m_edge.evaluation.protocol import (
    Problem,
    Unseen,
    accuracies,
    inner_problems,
    study,
    tuned,
    unseen_texts,
)
from t2m_edge.evaluation.report import difference_table, table
from t2m_edge.hypernetworks.class_vectors import text_centres, unit

QUICK = {"steps": 150, "epochs": 60}


@pytest.fixture(scope="module")
def problem() -> Problem:
    """40 seen and 8 unseen classes, 12-d meaning, 32-d features, 20-d texts."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(48, 12))
    to_image, to_text = rng.normal(size=(12, 32)), rng.normal(size=(12, 20))

    def part(classes: slice, each: int) -> tuple:
        own = meaning[classes]
        labels = np.repeat(np.arange(len(own)), each)
        features = unit(own[labels] @ to_image + 4 * rng.normal(size=(len(labels), 32))).astype(np.float32)
        sentences = tuple((m @ to_text + 2 * rng.normal(size=(4, 20))).astype(np.float32) for m in own)
        return features, labels, (own @ to_text + rng.normal(size=(len(own), 20))).astype(np.float32), sentences

    seen, again = part(slice(0, 40), 12), part(slice(0, 40), 6)
    unseen = Unseen(*part(slice(40, 48), 12))
    return Problem("toy", 0, Seen(*seen, text_centres([seen[2:]])), unseen, again[:2])


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_every_method_tells_unseen_classes_apart(problem: Problem, method) -> None:
    settings = {k: min(v, QUICK.get(k, v)) if k in QUICK else v for k, v in method.settings.items()}
    if "ICIS" in method.name or "delta" in method.name:
        settings["learning_rate"] = 2e-3 if "ICIS" in method.name else 0.02
    if "hypernetwork" in method.name:
        settings |= {"steps": 60, "tasks": 4}
    scores = method.fit(problem.seen, 0, **settings)
    assert accuracies(scores, problem, "descriptions")[0] > 35  # chance: 12.5


def test_networks_repeat_exactly(problem: Problem) -> None:
    runs = [OURS.fit(problem.seen, 3, steps=5, tasks=2) for _ in range(2)]
    texts = unseen_texts(problem, "name")[0]
    np.testing.assert_array_equal(*(run(problem.unseen.features, texts) for run in runs))


def test_conditions_are_the_name_single_sentences_and_their_mean(problem: Problem) -> None:
    unseen, centres = problem.unseen, problem.seen.centres
    (names,) = unseen_texts(problem, "name")
    np.testing.assert_allclose(names, unit(unseen.names - centres.name), rtol=1e-5)
    (means,) = unseen_texts(problem, "descriptions")
    np.testing.assert_allclose(means[2], unit(unseen.sentences[2].mean(0) - centres.text), rtol=1e-5)
    for draw in unseen_texts(problem, "sentence"):
        assert any(np.allclose(draw[1], s) for s in unit(unseen.sentences[1] - centres.text))


def test_pseudo_unseen_classes_are_seen_ones_that_the_fit_does_not_get(problem: Problem) -> None:
    for inner in inner_problems(problem):
        known = {n.tobytes() for n in inner.seen.names}
        held = {n.tobytes() for n in inner.unseen.names}
        assert len(known) == 30 and len(held) == 10 and not known & held
        assert known | held == {n.tobytes() for n in problem.seen.names}


def test_tuning_takes_the_settings_that_do_best_inside(problem: Problem) -> None:
    method = replace(L, grid={"strength": (1.0, 1e9), "shrinkage": (1.0,)})
    assert tuned(method, inner_problems(problem, 2), "descriptions") == {"strength": 1.0, "shrinkage": 1.0}


def test_a_study_has_three_figures_for_each_condition_and_a_table(problem: Problem) -> None:
    outcome = study(replace(L, grid={"strength": (0.3, 1.0)}), problem, None, 0)
    found = outcome.accuracy
    assert set(outcome.settings["name"]) == {"strength"}
    assert set(found) == set(CONDITIONS)
    twenty, five, two = found["descriptions"]
    assert 12.5 < twenty <= five <= two <= 100
    results = {m: {c: np.array([v, v]) + shift for c, v in found.items()} for m, shift in (("a", 0.0), ("b", 2.0))}
    assert "| descriptions | b |" in table(results, ["a"]) and "+2.0 (0.0)" in table(results, ["a"])
    assert "+2.0 (0.0)" in difference_table({"a": results["b"]}, {"a": results["a"]})


def test_calibration_finds_unseen_classes_among_seen_ones(problem: Problem) -> None:
    plain, calibrated = generalised(L, problem, "descriptions", L.settings, 0)
    assert calibrated.harmonic > plain.harmonic
    assert calibrated.unseen > plain.unseen
    assert calibrated.seen <= plain.seen


def test_frozen_features_are_unit_and_fitted_on_seen_images_alone() -> None:
    rng = np.random.default_rng(0)
    seen, first, second = (rng.uniform(size=(n, 300)).astype(np.float32) for n in (400, 20, 30))
    x, y = transformed(seen, first)
    again, _ = transformed(seen, second)
    np.testing.assert_array_equal(x, again)
    assert x.shape == (400, 256) and y.shape == (20, 256)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1, atol=1e-5)
