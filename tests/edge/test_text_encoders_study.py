import numpy as np
import pytest

pytest.importorskip("torch")
from t2m_edge.evaluation.text_encoders import (
    ClassEmbeddings,
    Images,
    drawn_texts,
    study_encoder,
    table,
    transformed,
)
from t2m_edge.training.head import HeadRecipe


@pytest.fixture
def toy():
    """100 classes whose images and texts are noisy views of one vector a class: an easy zero-shot problem."""
    rng = np.random.default_rng(0)
    meaning = rng.normal(size=(100, 12))
    to_image, to_text = rng.normal(size=(12, 300)), rng.normal(size=(12, 20))

    def images(each):
        labels = np.repeat(np.arange(100), each)
        noisy = meaning[labels] @ to_image + rng.normal(size=(len(labels), 300))
        return Images((noisy - noisy.min()).astype(np.float32), labels)

    def texts(each):
        return tuple((m @ to_text + 0.3 * rng.normal(size=(each, 20))).astype(np.float32) for m in meaning)

    return ClassEmbeddings(np.concatenate(texts(1)), texts(3)), images(6), images(3)


def test_features_are_unit_and_fitted_on_the_seen_classes_alone(toy):
    _, train, test = toy
    seen = np.arange(60)
    x, _ = transformed(train, test, seen)
    changed = Images(train.pooled.copy(), train.labels)
    changed.pooled[train.labels >= 60] *= np.linspace(0.5, 2, 300, dtype=np.float32)
    again, _ = transformed(changed, test, seen)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(x[train.labels < 60], again[train.labels < 60], atol=1e-4)


def test_conditions_are_the_mean_the_name_and_single_texts(toy):
    found, classes = toy[0], np.array([3, 7])
    np.testing.assert_array_equal(drawn_texts(found, classes, "N", 0)[0], found.names[classes])
    np.testing.assert_allclose(drawn_texts(found, classes, "D", 0)[0][1], found.texts[7].mean(0))
    for draw in drawn_texts(found, classes, "1", 0):
        assert any(np.array_equal(draw[0], text) for text in found.texts[3])


@pytest.mark.shared
@pytest.mark.slow
def test_a_study_of_easy_classes_is_far_above_chance(toy, shared_data):
    found, train, test = toy
    results = study_encoder(
        found, shared_data.parent, train, test, seeds=1, recipe=HeadRecipe(steps=60, tasks=4, members=1)
    )
    assert set(results) == {"L D", "L N", "L 1", "H D", "H N", "H 1"}
    assert np.mean(results["L D"]) > 50 and np.mean(results["H D"]) > 30


def test_the_table_shows_paired_differences():
    results = {"base": {"L D": [1.0, 2, 3, 4, 5]}, "own": {"L D": [2.0, 3, 4, 5, 6]}}
    assert table(results).splitlines()[2:] == ["| base | 3.0 |", "| own | +1.0 (0.0) |"]
