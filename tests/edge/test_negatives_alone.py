"""Classes given by negative texts alone."""

from __future__ import annotations

import numpy as np
import pytest

import t2m_edge
from t2m_edge.compiler.negatives_alone import LEAD, negatives_alone, with_lead
from t2m_edge.packs import load_pack
from t2m_edge.task import read_task
from t2m_runtime import Classifier, Head, Layer


@pytest.fixture
def head() -> Head:
    rng = np.random.default_rng(0)
    return Head(("a", "b", "c"), (Layer(rng.standard_normal((3, 8)).astype(np.float32), np.zeros(3, np.float32)),))


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((500, 8)).astype(np.float32)


def test_which_classes_have_negative_texts_alone(tmp_path) -> None:
    path = tmp_path / "t.txt"
    path.write_text(
        "horse: a large animal\nother: not: stripes; not: hooves\nzebra: black and white; not: antlers\ncat\n"
    )
    assert negatives_alone(read_task(path)).tolist() == [False, True, False, False]


def test_the_lead_is_half_the_spread_of_its_own_logit(head, features) -> None:
    led = with_lead(head, np.array([False, True, False]), features)
    added = led.logits(features) - head.logits(features)
    assert np.allclose(added[:, [0, 2]], 0)
    assert np.allclose(added[:, 1], LEAD * head.logits(features)[:, 1].std(), rtol=1e-5)


@pytest.mark.parametrize("alone", [np.zeros(3, bool), np.ones(3, bool)])
def test_where_no_class_or_every_class_is_so_nothing_changes(head, features, alone) -> None:
    assert with_lead(head, alone, features) is head


def test_compile_gives_it(tmp_path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("carrots: long orange roots\nother: not: orange; not: a long root\n")
    t2m_edge.compile(path, tmp_path / "m.tflite", scores="logits", precision="fp32")
    path.write_text("other: not: orange; not: a long root\nrest: not: a fruit\n")
    t2m_edge.compile(path, tmp_path / "n.tflite", scores="logits", precision="fp32")
    image = load_pack().probes.images[0]
    rows = []
    for name in ("m.tflite", "n.tflite"):
        with Classifier.load(tmp_path / name) as classifier:
            result = classifier.classify(image)
            rows.append(dict(zip(result.names, result.scores)))
    assert rows[0]["other"] - rows[1]["other"] > 0.1
