"""Every operator, bit for bit what LiteRT's reference kernels give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_runtime.core import CoreModel

EXAMPLES = 60


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=EXAMPLES, deadline=None)
def test_int8_graphs_are_bit_equal_to_litert_reference_kernels(library, tools, seed):
    rng = np.random.default_rng(seed)
    model = tools.backbone_bytes(rng, int8=True)
    with CoreModel(model, kernels="reference", library=library) as core:
        for _ in range(3):
            image = rng.integers(0, 256, (core.height, core.width, 3), np.uint8)
            with pytest.raises(ValueError, match="no scores"):
                core.run(image)  # a backbone alone has features only
            np.testing.assert_array_equal(core.features(), tools.litert_reference(model, image))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=EXAMPLES // 2, deadline=None)
def test_float_graphs_are_within_rounding_of_litert_reference_kernels(library, tools, seed):
    rng = np.random.default_rng(seed)
    model = tools.backbone_bytes(rng, int8=False)
    with CoreModel(model, library=library) as core:
        image = rng.integers(0, 256, (core.height, core.width, 3), np.uint8)
        with pytest.raises(ValueError, match="no scores"):
            core.run(image)
        expected = tools.litert_reference(model, image)
        assert np.abs(core.features() - expected).max() <= 2e-6 * max(np.abs(expected).max(), 1e-6)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=EXAMPLES, deadline=None)
def test_fast_kernels_are_bit_equal_to_the_reference(library, tools, seed):
    rng = np.random.default_rng(seed)
    model = tools.backbone_bytes(rng, int8=True)
    names = tools.kernel_names(library)
    image, found = None, {}
    for name in names:
        with CoreModel(model, kernels=name, library=library) as core:
            if image is None:
                image = rng.integers(0, 256, (core.height, core.width, 3), np.uint8)
            with pytest.raises(ValueError, match="no scores"):
                core.run(image)
            found[name] = core.features()
    for name in names:
        np.testing.assert_array_equal(found[name], found["reference"], err_msg=name)
