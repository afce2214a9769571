"""The model card: what it makes of logits, photos and the calibration's JSON."""

from __future__ import annotations

import string
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")
from t2m_edge.evaluation.model_card import (
    Mistake,
    Unseen,
    accuracies,
    accuracy_table,
    checked_tables,
    class_results,
    failure_table,
    write_pictures,
)


def results() -> list[Unseen]:
    """Two splits of three classes, two images each: "pear" is held out in both and always taken for "apple"."""
    answers = {("apple", "pear", "plum"): [0, 0, 0, 0, 2, 2], ("pear", "apple", "sea"): [1, 1, 1, 1, 2, 0]}
    labels = np.array([0, 0, 1, 1, 2, 2])
    return [Unseen("cifar100", "descriptions", n, np.eye(3)[a], labels) for n, a in answers.items()]


def test_failures_are_counted_over_all_splits_that_hold_a_class_out() -> None:
    found = class_results(results(), "cifar100")
    assert [(c.name, c.images, c.right) for c in found] == [
        ("pear", 4, 0),
        ("sea", 2, 1),
        ("apple", 4, 4),
        ("plum", 2, 2),
    ]
    assert found[0].called == (("apple", 4),) and found[1].called == (("pear", 1),)
    assert "| CIFAR-100 | pear | 0 % | apple 100 % |" in failure_table({"cifar100": found})


def test_accuracy_is_named_with_its_chance_and_spread() -> None:
    labels = np.arange(6)
    perfect, wrong = np.eye(6), np.eye(6)[[0, 1, 2, 4, 5, 3]]
    names = tuple("abcdef")
    found = accuracies([Unseen("cifar100", "name", names, logits, labels) for logits in (perfect, wrong)])
    assert [row[0] for row in found["cifar100"]["name"]] == [100, 50]
    assert "| CIFAR-100 | name | 75.0 ± 35.4 (17, 6-way) |" in accuracy_table(found, {"cifar100": 6})


def test_tables_of_calibration_are_means_over_the_splits() -> None:
    row = dict.fromkeys(("error_before", "error_after", "inside", "auroc", "false_accepts", "kept"), 0.25)
    row |= {"right_of_kept": 0.5, "right_of_all": 0.25, "off": 0.1}
    calibration, reject = checked_tables({"grocery, name": [row, {k: v + 0.5 for k, v in row.items()}]})
    assert calibration.endswith("| Grocery | name | 0.500 / 0.500 | 50 % |")
    assert reject.endswith("| Grocery | name | 0.50 | 50.0 % | 50 % | 50 / 75 % |")


def test_pictures_are_small_files_beside_the_card(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    text = write_pictures([Mistake(photo, "lemon", "banana", 0.625)], "default", tmp_path)
    assert "![lemon](default-mistake-0.jpg)" in text and "lemon, taken for banana (62 %)" in text
    assert Image.open(tmp_path / "default-mistake-0.jpg").size == (128, 128)


def test_the_template_is_a_valid_one() -> None:
    text = resources.files("t2m_edge.evaluation").joinpath("model_card.md").read_text("utf-8")
    assert all(m.group("invalid") is None for m in string.Template.pattern.finditer(text))
