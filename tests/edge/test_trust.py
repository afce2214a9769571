"""What compile says of a task: accuracy to expect, classes that look alike, scores at the pack's temperature."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import t2m_edge
from t2m_edge.compiler.trust import (
    MeasuredAccuracy,
    expected_accuracy,
    likeness,
    mean_likeness,
    measured_accuracy,
    riskiest_pairs,
)
from t2m_edge.packs import load_pack
from t2m_edge.packs.calibration import AccuracyModel, Calibration
from t2m_edge.packs.pack import FeatureBank
from t2m_edge.packs.writing import rewrite_facts
from t2m_runtime import Head, InputError, Layer
from t2m_runtime.manifest import NONE_LABEL

MODEL = AccuracyModel(constant=2.0, ways=-1.0, likeness=-2.0, low=-0.5, high=0.4)


def head(rows: list[list[float]]) -> Head:
    weight = np.array(rows, np.float32)
    return Head(tuple(f"class {i}" for i in range(len(rows))), (Layer(weight, np.zeros(len(rows), np.float32)),))


def test_the_riskiest_pair_is_the_one_whose_rows_point_the_same_way() -> None:
    found = riskiest_pairs(head([[1, 0, 0], [0, 2, 0], [0, 3, 0.3], [1, 0, 1]]), 2)
    assert (found[0].first, found[0].second) == ("class 1", "class 2")
    assert found[0].likeness == pytest.approx(3 / np.hypot(3, 0.3), abs=1e-4)
    assert len(found) == 2 and found[0].likeness >= found[1].likeness


def test_classes_whose_rows_point_apart_are_no_risky_pair() -> None:
    assert riskiest_pairs(head([[1, 0], [0.4, 1], [-1, 0]])) == ()
    assert len(riskiest_pairs(head([[1, 0], [1, 1], [-1, 0]]))) == 1


def test_likeness_does_not_change_with_the_length_of_rows() -> None:
    np.testing.assert_allclose(likeness(head([[1, 2], [3, -1]])), likeness(head([[10, 20], [0.3, -0.1]])), atol=1e-6)
    assert mean_likeness(head([[1, 0], [2, 0], [3, 0]])) == pytest.approx(1)


def test_names_of_classes_that_are_given_by_negatives_alone_are_not_counted() -> None:
    rows = Head(("kiwi", "lime"), (Layer(np.eye(2, dtype=np.float32), np.zeros(2, np.float32)),))
    bank = FeatureBank(np.array([[9, 0], [9, 0]], np.int8), np.array([0, 1], np.int32), ("kiwi", "lime"), 1.0, 0)
    assert measured_accuracy(rows, bank, np.array([False, True])) == MeasuredAccuracy(1.0, 1, 1, ("kiwi",))
    assert measured_accuracy(rows, bank, np.array([True, True])) is None


def test_photos_that_none_of_these_turns_away_are_not_right() -> None:
    labels, bias = ("kiwi", "lime", NONE_LABEL), np.array([0, 0, 5], np.float32)
    rows = Head(labels, (Layer(np.array([[1, 0], [0, 1], [0, 0]], np.float32), bias),))
    features = np.array([[9, 0], [3, 0], [9, 0], [0, 9]], np.int8)
    bank = FeatureBank(features, np.array([0, 0, 1, 1], np.int32), ("kiwi", "lime"), 1.0, 0)
    assert measured_accuracy(rows, bank) == MeasuredAccuracy(0.5, 2, 4, ("kiwi", "lime"), 0.25)


def test_of_classes_given_by_negatives_alone_nothing_is_expected() -> None:
    two, calibration = head([[1, 0], [-1, 0]]), Calibration(accuracy=MODEL)
    assert expected_accuracy(two, calibration, np.array([False, True])) is None
    assert expected_accuracy(two, calibration, np.array([False, False])) == expected_accuracy(two, calibration)


@given(st.integers(2, 1000), st.floats(-1, 1))
def test_the_expected_accuracy_is_a_share_inside_its_range(classes: int, like: float) -> None:
    accuracy, low, high = MODEL.expected(classes, like)
    assert 0 < low < accuracy < high < 1
    assert MODEL.expected(classes + 1, like)[0] < accuracy


def test_a_pack_without_a_record_expects_nothing() -> None:
    assert expected_accuracy(head([[1, 0], [0, 1]]), Calibration()) is None
    assert expected_accuracy(head([[1, 0], [0, 1]]), Calibration(accuracy=MODEL)).accuracy == pytest.approx(
        0.8808, 1e-3
    )


def test_accuracy_is_measured_on_the_banks_images_of_the_tasks_classes_by_name() -> None:
    rows = Head(("red bell pepper", "Zucchini", "kiwi"), (Layer(np.eye(3, dtype=np.float32), np.zeros(3, np.float32)),))
    features = np.array([[9, 0, 0], [0, 9, 0], [0, 9, 0], [0, 0, 9], [9, 0, 0], [0, 9, 0]], np.int8)
    labels = np.array([0, 0, 1, 1, 2, 1], np.int32)
    bank = FeatureBank(features, labels, ("Red-Bell-Pepper", "zucchini", "kiwi fruit"), 1.0, 0)
    names = ("red bell pepper", "Zucchini")
    assert measured_accuracy(rows, bank) == MeasuredAccuracy(pytest.approx((1 / 2 + 2 / 3) / 2), 2, 5, names)
    strangers = FeatureBank(features, labels, ("a", "b", "c"), 1.0, 0)
    assert measured_accuracy(rows, strangers) is None


def test_the_temperature_of_a_pack_divides_the_logits(tiny_pack, tmp_path) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(tiny_pack, pack)
    calibration = Calibration(2.0, MODEL, {"fitted_on": "toys"})
    rewrite_facts(pack, {"calibration": calibration.to_dict()})
    before, after = load_pack(tiny_pack), load_pack(pack)
    assert after.info.calibration == calibration
    z = np.random.default_rng(0).standard_normal((3, 2 * before.text_encoder.d_text)).astype(np.float32)
    x = before.bank.real
    names = ("a", "b", "c")
    np.testing.assert_allclose(
        after.head(names, z).logits(x) * 2, before.head(names, z).logits(x), rtol=1e-4, atol=1e-5
    )
    task = tmp_path / "t.txt"
    task.write_text("zebra\nhorse\n")
    report = t2m_edge.compile(task, tmp_path / "m.tflite", pack=pack)
    assert 0 < report.expected.low < report.expected.high < 1 and report.negatives_alone == ()


@pytest.mark.parametrize(
    "off", [{"temperature": 0}, {"temperature": "warm"}, {}, {"temperature": 1, "accuracy": {"constant": 1}}]
)
def test_a_pack_whose_calibration_is_off_is_refused(tiny_pack, tmp_path: Path, off) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(tiny_pack, pack)
    facts = json.loads((pack / "pack.json").read_text())
    (pack / "pack.json").write_text(json.dumps({**facts, "calibration": off}))
    with pytest.raises(InputError, match="pack.json is off"):
        load_pack(pack)
