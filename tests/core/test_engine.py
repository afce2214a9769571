"""t2m_runtime on the C core."""

from __future__ import annotations

import numpy as np
import pytest

from t2m_runtime import Classifier
from t2m_runtime.engines import available_engines
from t2m_runtime.engines.core import CoreEngine


@pytest.fixture
def with_core(library, monkeypatch):
    monkeypatch.setenv("T2M_CORE_LIBRARY", library._name)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_classifier_on_the_core_passes_its_self_test(with_core, compiled, precision):
    with Classifier.load(compiled[precision], engine="core") as classifier:
        assert classifier.engine.name == "core"
        assert classifier.self_test() <= classifier.manifest.self_test.tolerance
        photo = np.random.default_rng(0).integers(0, 256, (120, 100, 3), np.uint8)
        with Classifier.load(compiled[precision], engine="litert-reference") as reference:
            assert classifier.classify(photo).names == reference.classify(photo).names


def test_the_core_is_listed_where_it_is(with_core):
    assert available_engines()["core"].version


def test_images_of_another_shape_or_type_are_refused(with_core, compiled):
    engine = CoreEngine(compiled["int8"])
    for image in (np.zeros((1, 95, 96, 3), np.uint8), np.zeros((1, 96, 96, 3), np.float32), [0]):
        with pytest.raises(ValueError, match="prepare"):
            engine.run(image)
