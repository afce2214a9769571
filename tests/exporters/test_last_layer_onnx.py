"""The last layer of a foreign .onnx: read, and written with more rows."""

from __future__ import annotations

import json

import numpy as np
import onnx as onnx_package
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_exporters.foreign_runs import Runner
from t2m_exporters.last_layer_onnx import cut_onnx, read_onnx, write_onnx
from t2m_runtime.errors import InputError

from .foreign import D, onnx, weights

FORMS = ["gemm", "gemm-flipped", "matmul", "conv", "half", "qdq"]


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_those_of_the_layer(form):
    found = read_onnx(onnx(form=form))
    np.testing.assert_allclose(found.rows.real()[0], weights(6)[0], atol=0.02)
    np.testing.assert_allclose(found.rows.real()[1], weights(6)[1], atol=0.02)


@pytest.mark.parametrize("form", FORMS)
def test_a_copied_row_gives_the_same_logit_and_old_logits_stay(form):
    model = onnx(form=form)
    rows = read_onnx(model).rows
    weight, bias = rows.real()
    written = write_onnx(model, rows.with_rows(weight[2:4], bias[2:4])[0], None)
    onnx_package.checker.check_model(onnx_package.load_from_string(written))
    before, after = (Runner(cut_onnx(m, "logits"), "onnx") for m in (model, written))
    inputs = before.input.noise(3)
    old, new = before.run(inputs), after.run(inputs)
    np.testing.assert_allclose(new[:, :6], old, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(new[:, 6:], old[:, 2:4], atol=1e-5)
    assert Runner(written, "onnx").run(inputs).shape == (3, 8)
    features = Runner(cut_onnx(model, "features"), "onnx").run(inputs)
    np.testing.assert_allclose(features @ weight.T + bias, old, atol=1e-4)


@pytest.mark.parametrize("ir", [3, 8])
@pytest.mark.parametrize("form", ["gemm", "gemm-flipped", "matmul", "conv", "half"])
def test_a_layer_without_a_bias_gets_one_and_old_logits_stay(form, ir):
    model = onnx(form=form, biased=False, ir=ir)
    rows = read_onnx(model).rows
    weight, bias = rows.real()
    assert bias.tolist() == [0] * 6
    written = write_onnx(model, rows.with_rows(weight[2:4], np.array([0.5, -1.5]))[0], None)
    onnx_package.checker.check_model(onnx_package.load_from_string(written))
    np.testing.assert_array_equal(read_onnx(written).rows.bias, np.float32([0] * 6 + [0.5, -1.5]))
    before, after = (Runner(cut_onnx(m, "logits"), "onnx") for m in (model, written))
    inputs = before.input.noise(3)
    old, new = before.run(inputs), after.run(inputs)
    np.testing.assert_array_equal(new[:, :6], old)
    np.testing.assert_allclose(new[:, 6:], old[:, 2:4] + [0.5, -1.5], atol=1e-5)
    assert Runner(written, "onnx").run(inputs).shape == (3, 8)
    again = read_onnx(written).rows.with_rows(weight[:1], np.ones(1))[0]
    assert read_onnx(write_onnx(written, again, None)).rows.bias[-3:].tolist() == [0.5, -1.5, 1]


def test_a_matmul_that_is_the_output_gets_its_bias_before_the_outputs_name():
    tree = onnx_package.load_from_string(onnx(form="matmul", biased=False))
    del tree.graph.node[-1]
    tree.graph.output[0].name = "logits"
    model = tree.SerializeToString()
    rows = read_onnx(model).rows
    written = write_onnx(model, rows.with_rows(rows.real()[0][:1], np.array([2.0]))[0], None)
    before, after = Runner(model, "onnx"), Runner(written, "onnx")
    inputs = before.input.noise(2)
    np.testing.assert_array_equal(after.run(inputs)[:, :6], before.run(inputs))
    np.testing.assert_allclose(after.run(inputs)[:, 6], before.run(inputs)[:, 0] + 2, atol=1e-5)


def test_quantised_weights_without_a_bias_are_given_none():
    model = onnx(form="qdq", biased=False)
    rows = read_onnx(model).rows
    assert rows.bias is None
    written = write_onnx(model, rows.with_rows(np.ones((1, D)), np.ones(1))[0], None)
    assert read_onnx(written).rows.bias is None
    assert len(read_onnx(written).rows.weight) == 7


def test_labels_in_the_metadata_grow_and_other_entries_stay():
    model = onnx(labels=json.dumps(list("abcdef")))
    found = read_onnx(model)
    assert found.labels == tuple("abcdef")
    written = write_onnx(model, found.rows.with_rows(np.ones((1, D)), np.ones(1))[0], (*"abcdef", "g"))
    assert read_onnx(written).labels == tuple("abcdefg")
    assert {e.key: e.value for e in onnx_package.load_from_string(written).metadata_props}["author"] == "kept"


@pytest.mark.parametrize(
    "model, said",
    [
        (onnx(form="conv-wide"), "convolution on a map of 2x2; expected 1x1 on a 1x1 map"),
        (onnx(last="Relu"), "last layer is Relu; expected Gemm"),
        (b"no model", "damaged"),
        (b"", "no graph"),
    ],
    ids=["wide", "relu", "text", "empty"],
)
def test_other_ends_are_refused_in_one_line(model, said):
    with pytest.raises(InputError, match=said) as caught:
        read_onnx(model)
    assert len(str(caught.value).splitlines()) == 1


@given(st.data())
def test_cut_and_changed_files_are_refused_or_read(data):
    """Whatever the bytes: rows, or one InputError."""
    model = bytearray(onnx(form=data.draw(st.sampled_from(FORMS)), biased=data.draw(st.booleans())))
    if data.draw(st.booleans()):
        model = model[: data.draw(st.integers(0, len(model)))]
    for _ in range(data.draw(st.integers(0, 4))):
        if model:
            model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_onnx(bytes(model))
    except InputError as error:
        assert len(str(error).splitlines()) == 1
