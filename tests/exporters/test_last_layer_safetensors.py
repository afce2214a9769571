"""The last layer in a safetensors file: the matrix with a row a class is found, and grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from t2m_exporters.last_layer import LastLayer
from t2m_exporters.last_layer_safetensors import find_names, read_safetensors, write_safetensors
from t2m_runtime.errors import InputError

from .foreign import D, weights


def file(**more: np.ndarray) -> bytes:
    weight, bias = weights(6)
    return save({"fc.weight": weight, "fc.bias": bias, **more}, {"model": "kept"})


def read(model: bytes) -> LastLayer:
    return read_safetensors(model, find_names(model, 6))


def test_the_matrix_with_a_row_a_class_grows_and_the_rest_stays():
    model = file(**{"conv.weight": np.ones((8, 3, 3, 3), np.float32), "hidden.weight": np.ones((9, 4), np.float32)})
    found = read(model)
    written = write_safetensors(model, found.rows.with_rows(np.ones((2, D)), np.zeros(2))[0], find_names(model, 6))
    tensors = load(written)
    assert tensors["fc.weight"].shape == (8, D)
    np.testing.assert_array_equal(tensors["fc.weight"][:6], weights(6)[0])
    np.testing.assert_array_equal(tensors["hidden.weight"], np.ones((9, 4)))
    assert b'"model":"kept"' in written


def test_what_is_not_clear_is_refused():
    two = file(**{"other.weight": np.ones((6, 5), np.float32)})
    with pytest.raises(InputError, match=r"has 2 matrices of 6 rows .*fc.weight, other.weight"):
        find_names(two, 6)
    with pytest.raises(InputError, match="has 0 matrices of 7 rows"):
        find_names(file(), 7)


def test_names_are_free_where_one_matrix_fits():
    weight, bias = weights(6)
    found = read(save({"w": weight, "b": bias, "x": np.ones((4, 4), np.float32)}))
    np.testing.assert_array_equal(found.rows.weight, weight)
    np.testing.assert_array_equal(found.rows.bias, bias)
    assert read(save({"w": weight})).rows.bias is None
    with pytest.raises(InputError, match=r"1 matrix of 6 rows and 2 vectors .*such as fc.weight and fc.bias"):
        find_names(save({"w": weight, "b": bias, "mean": bias}), 6)


@given(st.data())
def test_cut_and_changed_files_are_refused_or_read(data):
    """Whatever the bytes: rows, or one InputError."""
    model = bytearray(file())
    model = model[: data.draw(st.integers(0, len(model)))]
    for _ in range(data.draw(st.integers(0, 4))):
        if model:
            model[data.draw(st.integers(0, min(len(model), 300) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(model))
    except InputError as error:
        assert len(str(error).splitlines()) == 1
