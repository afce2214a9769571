import numpy as np
import pytest

from t2m_edge.training.text_targets import (
    ClipPredictor,
    ClipRow,
    JointTargets,
    clip_texts,
    held_out_names,
    names_clash,
    plain_name,
    read_clip_rows,
    without_held_out,
)
from t2m_runtime.errors import InputError


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def toy_encode(texts):
    """A vector drawn from the text's own bytes: equal texts, equal vectors."""
    return unit(np.stack([np.random.default_rng(list(t.encode())).normal(size=16) for t in texts]).astype(np.float32))


@pytest.fixture
def rows():
    vectors = unit(np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32))
    return [ClipRow((f"name{i}",), "a thing" if i % 2 else None, v) for i, v in enumerate(vectors)]


@pytest.mark.parametrize(
    ("name", "plain"),
    [("Ferris_wheel", "ferris wheel"), ("chicken_(animal)", "chicken"), ("Granny-Smith", "granny smith")],
)
def test_names_are_compared_as_they_are_spoken(name, plain):
    assert plain_name(name) == plain


@pytest.mark.parametrize("name", ["can", "cans", "can opener", "pickup truck", "red pickup trucks", "mice", "berries"])
def test_a_name_clashes_with_a_held_out_name_inside_it(name):
    assert names_clash(name, {"can", "pickup truck", "mouse", "berry"})


@pytest.mark.parametrize("name", ["candle", "truck", "canoe", "mousetrap", "pick up"])
def test_a_name_that_only_shares_letters_does_not_clash(name):
    assert not names_clash(name, {"can", "pickup truck", "mouse", "berry"})


def test_a_row_goes_when_any_of_its_names_clashes():
    vector = np.ones(2, np.float32)
    rows = [ClipRow(("sofa", "couch"), None, vector), ClipRow(("stool",), None, vector)]
    assert [row.names for row in without_held_out(rows, {"couch"})] == [("stool",)]


def test_every_name_and_definition_becomes_a_text_of_its_row():
    texts, owners = clip_texts([ClipRow(("a b", "c"), "a letter", np.ones(2)), ClipRow(("d",), None, np.ones(2))])
    assert texts == ["a photo of a a b", "a b", "a photo of a c", "c", "a b: a letter", "a photo of a d", "d"]
    assert owners == [0] * 5 + [1] * 2


def test_the_predictor_is_nearest_to_the_right_row_on_what_it_was_fitted_to(rows):
    predictor = ClipPredictor(rows, toy_encode)
    predicted = predictor.predict(toy_encode([f"name{i}" for i in range(20)]))
    np.testing.assert_allclose(np.linalg.norm(predicted, axis=1), 1, atol=1e-5)
    centred = np.stack([row.vector for row in rows]) - predictor.mean
    assert (np.argmax(predicted @ centred.T, axis=1) == np.arange(20)).mean() >= 0.9


def test_joint_targets_keep_the_dot_products_of_both_sides(rows):
    predictor = ClipPredictor(rows, toy_encode)
    teacher = toy_encode([f"line {i}" for i in range(200)])
    targets = JointTargets(predictor, teacher, d_text=24, clip_share=0.25)(teacher)
    clip = predictor.predict(teacher)
    np.testing.assert_allclose(targets @ targets.T, 0.75 * teacher @ teacher.T + 0.25 * clip @ clip.T, atol=1e-4)


def test_fewer_directions_keep_less_energy(rows):
    predictor = ClipPredictor(rows, toy_encode)
    teacher = toy_encode([f"line {i}" for i in range(200)])
    energies = [JointTargets(predictor, teacher, d).kept_energy for d in (4, 12, 24)]
    assert energies == sorted(energies) and energies[0] < 0.9 and energies[2] > 0.999


def test_a_folder_without_the_clip_tables_says_what_to_pass(tmp_path):
    with pytest.raises(InputError, match="--data"):
        read_clip_rows(tmp_path)
    with pytest.raises(InputError, match="--data"):
        held_out_names(tmp_path)


@pytest.mark.shared
def test_the_strict_rows_hold_no_class_name_of_the_image_sets(shared_data):
    rows, held_out = read_clip_rows(shared_data), held_out_names(shared_data)
    kept = without_held_out(rows, held_out)
    assert len(rows) == 2148 and 1500 < len(kept) < 1750
    assert {"maple tree", "bullfrog", "zucchini"} <= held_out
    assert not {name for row in kept for name in row.names} & held_out
