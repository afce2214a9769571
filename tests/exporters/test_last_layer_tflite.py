"""The last layer of a foreign .tflite: read, and written with more rows."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_exporters.foreign_runs import Runner
from t2m_exporters.last_layer_tflite import cut_tflite, read_tflite, write_tflite
from t2m_exporters.tflite_tree import read_tree
from t2m_runtime.errors import InputError

from .foreign import D, tflite, weights

BACKBONES = Path(os.environ.get("T2M_SHARED") or Path(__file__).resolve().parents[3] / "shared") / "data/backbones"
FORMS = [("FULLY_CONNECTED", "float32"), ("FULLY_CONNECTED", "int8"), ("CONV_2D", "float32"), ("CONV_2D", "int8")]


@pytest.mark.parametrize("layer, form", FORMS)
def test_rows_are_those_of_the_layer(layer, form):
    found = read_tflite(tflite(layer=layer, form=form))
    np.testing.assert_allclose(found.rows.real()[0], weights(6)[0], atol=0.02)
    np.testing.assert_allclose(found.rows.real()[1], weights(6)[1], atol=0.02)
    assert found.labels is None


@pytest.mark.parametrize("layer, form", FORMS)
def test_a_copied_row_gives_the_same_logit_and_old_logits_stay(layer, form):
    model = tflite(layer=layer, form=form)
    rows = read_tflite(model).rows
    weight, bias = rows.real()
    more, clipped = rows.with_rows(weight[2:4], bias[2:4])
    written = write_tflite(model, more, None)
    assert clipped == 0
    before, after = (Runner(cut_tflite(m, "logits"), "tflite") for m in (model, written))
    inputs = before.input.noise(3)
    old, new = before.run(inputs), after.run(inputs)
    np.testing.assert_array_equal(new[:, :6], old)
    np.testing.assert_allclose(new[:, 6:], old[:, 2:4], atol=1e-6 if form == "float32" else 0.11)
    assert Runner(written, "tflite").run(inputs).shape == (3, 8)


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_a_layer_without_a_bias_gets_one_and_old_logits_stay(form):
    model = tflite(form=form, biased=False)
    rows = read_tflite(model).rows
    weight, bias = rows.real()
    assert bias.tolist() == [0] * 6
    written = write_tflite(model, rows.with_rows(weight[2:4], np.array([0.5, -1.5]))[0], None)
    np.testing.assert_allclose(read_tflite(written).rows.real()[1], [0] * 6 + [0.5, -1.5], atol=1e-3)
    before, after = (Runner(cut_tflite(m, "logits"), "tflite") for m in (model, written))
    inputs = before.input.noise(3)
    old, new = before.run(inputs), after.run(inputs)
    np.testing.assert_array_equal(new[:, :6], old)
    np.testing.assert_allclose(new[:, 6:], old[:, 2:4] + [0.5, -1.5], atol=1e-5 if form == "float32" else 0.11)
    assert Runner(written, "tflite").run(inputs).shape == (3, 8)


def test_every_buffer_lies_at_a_multiple_of_16():
    model = tflite(labels=tuple("abcdef"))
    rows = read_tflite(model).rows
    written = write_tflite(model, rows.with_rows(np.ones((1, D)), np.ones(1))[0], tuple("abcdefg"))
    for buffer in read_tree(written).buffers:
        if buffer.data is not None and len(buffer.data):
            assert written.find(np.asarray(buffer.data, np.uint8).tobytes()) % 16 == 0


def test_labels_of_the_metadata_grow_and_other_files_stay():
    model = tflite(labels=tuple("abcdef"))
    found = read_tflite(model)
    assert found.labels == tuple("abcdef")
    more = found.rows.with_rows(np.ones((1, D)), np.ones(1))[0]
    written = write_tflite(model, more, (*found.labels, "new"))
    assert read_tflite(written).labels == (*"abcdef", "new")
    with zipfile.ZipFile(io.BytesIO(written)) as archive:
        assert archive.read("notes.txt") == b"kept"
    assert read_tree(written).signatureDefs[0].signatureKey == b"serving_default"


def test_a_convolution_on_a_larger_map_is_refused():
    with pytest.raises(InputError, match="1x1 on a map of 3x3; expected 1x1 on a 1x1 map"):
        read_tflite(tflite(layer="CONV_2D", side=3))


def test_features_are_cut_off_before_the_layer(quantized):
    from t2m_exporters.tflite import write_backbone_tflite

    with pytest.raises(InputError, match="last layer is L2_NORMALIZATION; expected fully connected"):
        cut_tflite(write_backbone_tflite(quantized), "features")


@given(st.data())
def test_cut_and_changed_files_are_refused_or_read(data):
    """Whatever the bytes: rows, or one InputError."""
    model = bytearray(tflite(labels=tuple("abcdef"), biased=data.draw(st.booleans())))
    if data.draw(st.booleans()):
        model = model[: data.draw(st.integers(0, len(model)))]
    for _ in range(data.draw(st.integers(0, 4))):
        if model:
            model[data.draw(st.integers(0, len(model) - 1))] = data.draw(st.integers(0, 255))
    try:
        read_tflite(bytes(model))
    except InputError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2_1.0_224_quant", "mobilenet_edgetpu_224_1.0_uint8", "pretrainedResnet", "pretrainedResnet_quant"],
)
def test_published_models_keep_their_logits(name):
    model = (BACKBONES / f"{name}.tflite").read_bytes()
    found = read_tflite(model)
    weight, bias = found.rows.real()
    written = write_tflite(model, found.rows.with_rows(weight[5:6], bias[5:6])[0], None)
    before, after = (Runner(cut_tflite(m, "logits"), "tflite") for m in (model, written))
    inputs = before.input.noise(1)
    old, new = before.run(inputs), after.run(inputs)
    np.testing.assert_array_equal(new[:, :-1], old)
    np.testing.assert_array_equal(new[:, -1], old[:, 5])
    assert Runner(written, "tflite").run(inputs).shape[1] == len(weight) + 1


@pytest.mark.shared
def test_an_embedding_model_is_no_classifier():
    with pytest.raises(InputError, match="last layer is AVERAGE_POOL_2D"):
        read_tflite((BACKBONES / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite").read_bytes())
