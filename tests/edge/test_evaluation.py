"""The accuracy study on an easy problem: images and texts are noisy views of one vector a class."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
from t2m_edge.evaluation import jobs, tuning
from t2m_edge.evaluation.__main__ import tune
from t2m_edge.evaluation.frozen_features import transformed
from t2m_edge.evaluation.generalised import generalised
from t2m_edge.evaluation.methods import METHODS
from t2m_edge.evaluation.methods.dem import METHOD as DEM
from t2m_edge.evaluation.methods.kernel_prototypes import DRAWN, anchors, kernel_rows, text_directions, text_filter
from t2m_edge.evaluation.methods.method import CONDITIONS, Seen
from t2m_edge.evaluation.methods.ours import METHOD as OURS
from t2m_edge.evaluation.methods.ridge_image_to_text import METHOD as IMAGE_TO_TEXT
from t2m_edge.evaluation.methods.ridge_prototypes import METHOD as L
from t2m_edge.evaluation.methods.ridge_rows import classifier_rows
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
from t2m_edge.evaluation.results import ResultFile
from t2m_edge.evaluation.sources import Place
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


class Toy:
    """The easy problem in the place of the real sources."""

    def __init__(self, problem: Problem) -> None:
        self.problem = lambda place: problem
        self.encoders = {"MiniLM": SimpleNamespace(id="minilm@1")}

    def features_id(self, place: Place) -> str:
        return "toy"


def test_tuning_that_was_stopped_goes_on_and_commits_what_did_best(
    problem: Problem, tmp_path: Path, monkeypatch
) -> None:
    method = replace(DEM, grid={"hidden": (4, 64), "steps": (30,)}, settings={"hidden": 4, "steps": 30})
    monkeypatch.setitem(jobs.BY_NAME, "DEM", method)
    monkeypatch.setattr(tuning, "PATH", tmp_path / "settings.json")
    tuning.PATH.write_text("{}")
    places = [Place("mobilenet_v1", "cifar100", s, "MiniLM") for s in ("0", "1")]
    file = tmp_path / "study.jsonl"
    jobs.measure_all(tuning.trial_jobs(method, places, 2)[:3], Toy(problem), ResultFile(file), 1)
    assert len(file.read_text().splitlines()) == 3
    tune(["DEM"], places, 2, Toy(problem), ResultFile(file), 1)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 4 and all(line["result"]["cpu_s"] >= 0 for line in lines)
    found = tuning.committed("DEM", "strict", "grocery")
    assert found is not None and found.source == "mobilenet_v1 cifar100"
    choice = json.loads(tuning.PATH.read_text())["mobilenet_v1"]["cifar100"]["DEM"]
    means = {
        hidden: np.mean(
            [v for x in lines if x["key"]["settings"]["hidden"] == hidden for v in x["result"]["accuracy"].values()]
        )
        for hidden in (4, 64)
    }
    assert found.settings["hidden"] == max(means, key=means.__getitem__)
    assert choice["accuracy"] == pytest.approx(max(means.values()), abs=0.01)


def test_jobs_of_all_kinds_say_what_they_measured(problem: Problem) -> None:
    place = Place("mobilenet_v1", "cifar100", "0", "MiniLM")
    given = jobs.measure(jobs.Job("accuracy", L.name, place, L.settings), problem)
    assert set(given["accuracy"]) == set(CONDITIONS) and given["settings"]["name"] == L.settings
    joint = jobs.measure(jobs.Job("generalised", L.name, place, L.settings), problem)
    assert joint["calibrated"][2] > joint["plain"][2]


def test_closed_forms_on_kept_sums_are_those_on_the_images(problem: Problem) -> None:
    seen = problem.seen
    x, texts = seen.features.astype(np.float64), seen.texts
    weight = 1 / np.sqrt(np.bincount(seen.labels)[seen.labels])[:, None]
    inputs, targets = (x - x.mean(0)) * weight, (texts[seen.labels] - texts.mean(0)) * weight
    gram = inputs.T @ inputs
    map_ = np.linalg.solve(gram + 0.3 * np.trace(gram) / len(gram) * np.eye(len(gram)), inputs.T @ targets)
    new = unseen_texts(problem, "name")[0]
    images = problem.unseen.features
    expected = unit((images - x.mean(0)) @ map_ + texts.mean(0)) @ new.T
    np.testing.assert_allclose(IMAGE_TO_TEXT.fit(seen, strength=0.3)(images, new), expected, atol=1e-4)
    rows, mean = classifier_rows(seen, 0.3)
    onehot = np.eye(len(texts))[seen.labels]
    target = (onehot - onehot.mean(0)) * weight
    expected = np.linalg.solve(gram + 0.3 * np.trace(gram) / len(gram) * np.eye(len(gram)), inputs.T @ target).T
    np.testing.assert_allclose(rows, expected, atol=1e-4)
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-6)


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


def test_a_class_gives_the_kernel_its_name_its_mean_and_means_of_fewer_sentences_than_it_has(problem: Problem) -> None:
    seen = replace(problem.seen, sentences=(problem.seen.sentences[0][:1], *problem.seen.sentences[1:]))
    texts, owner = anchors(seen)
    fewer = [n for n in DRAWN if n < 4]
    assert np.bincount(owner).tolist() == [2] + [2 + len(fewer)] * 39
    np.testing.assert_array_equal(texts[:40], seen.text_of("name"))
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, rtol=1e-5)
    alone = texts[np.flatnonzero(owner == 5)[2:]]
    own = unit(seen.sentences[5] - seen.centres.text)
    assert np.isclose(alone @ own.T, 1, atol=1e-5).any(), "a drawn sentence is one of the class's own"


def test_a_filtered_sentence_lies_nearer_to_what_its_class_means(problem: Problem) -> None:
    """The classes' meaning fills 12 of the 20 directions of the texts, so 8 hold noise alone."""
    seen = replace(problem.seen, condition="sentence")
    unseen = np.stack(problem.unseen.sentences) - seen.centres.text
    means, single = unit(unseen.mean(1, keepdims=True)), unit(unseen)

    def nearness(noise: float) -> float:
        found = text_directions((seen,))
        return float((unit(single @ text_filter(found, seen, noise)) * unit(means @ found.basis)).sum(-1).mean())

    assert nearness(0.1) > nearness(0.0) + 0.02


def test_rows_turn_away_from_what_tells_groups_of_classes_apart(problem: Problem) -> None:
    """``between`` shrinks rows most along the strongest direction of the prototypes; what is kept does not mix up."""
    seen = problem.seen
    strongest = np.linalg.eigh(seen.between)[1][:, -1]
    texts = unseen_texts(problem, "descriptions")[0]

    def along(between: float) -> float:
        return float(np.abs(unit(kernel_rows(seen, between=between)(texts)) @ strongest).mean())

    assert along(0.3) < 0.8 * along(0.0)


def test_frozen_features_are_unit_and_fitted_on_seen_images_alone() -> None:
    rng = np.random.default_rng(0)
    seen, first, second = (rng.uniform(size=(n, 300)).astype(np.float32) for n in (400, 20, 30))
    x, y = transformed(seen, first)
    again, _ = transformed(seen, second)
    np.testing.assert_array_equal(x, again)
    assert x.shape == (400, 256) and y.shape == (20, 256)
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1, atol=1e-5)
