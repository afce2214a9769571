"""Embedding models from elsewhere as backbones: the same numbers, our ends, and a head on top."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from t2m_exporters.foreign_tflite import adopt_tflite, ends
from t2m_exporters.quantize import quantize_head
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_exporters.tflite_tree import read_tree, write_tree
from t2m_runtime.classifier import Classifier
from t2m_runtime.errors import InputError

litert = pytest.importorskip("ai_edge_litert.interpreter")
SHARED = Path(os.environ.get("T2M_SHARED") or Path(__file__).resolve().parents[3] / "shared")
MOBILENET = SHARED / "data" / "backbones" / "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"


def run(model: bytes, image: np.ndarray) -> np.ndarray:
    interpreter = litert.Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).copy()


@pytest.mark.shared
@pytest.mark.skipif(not MOBILENET.exists(), reason="no data folder")
def test_mobilenets_embedding_extractor_is_used_as_it_is(make):
    original = MOBILENET.read_bytes()
    adopted = adopt_tflite(original)
    size, d, dtype, scale, zero_point = ends(adopted)
    assert (size, d, dtype, zero_point) == ((224, 224), 1024, "int8", -128)
    image = make.pictures(1, 224)
    before, after = run(original, image), run(adopted, image)
    np.testing.assert_array_equal(after[0].astype(int) + 128, before.reshape(-1).astype(int))
    bank = np.stack([run(adopted, picture[None])[0] for picture in make.pictures(3, 224, seed=2)])
    head = make.head(5, 1024, scale=1.0)
    manifest = make.manifest(head, "tflite", "int8", 224)
    data = append_head_tflite(adopted, quantize_head(head, bank, scale, zero_point), manifest)
    with Classifier.load(data) as classifier:
        found = classifier.scores(image[0])
    logits = head.logits((after.astype(np.float32) - zero_point) * np.float32(scale))
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(found, expected[0], atol=0.1)


@pytest.mark.parametrize("which", ["graph", "quantized"])
def test_our_own_backbone_keeps_its_numbers(which, request, make):
    model = write_backbone_tflite(request.getfixturevalue(which))
    image = make.pictures(1, 48)
    np.testing.assert_array_equal(run(adopt_tflite(model), image), run(model, image))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_other_inputs_get_an_operator_in_front(dtype, graph, quantized, make):
    """Our backbone without its first operator reads int8, or normalised floats."""
    model = write_backbone_tflite(quantized if dtype == "int8" else graph)
    tree = read_tree(model)
    inner = tree.subgraphs[0]
    inner.inputs = list(inner.operators[0].outputs)
    inner.operators = inner.operators[1:]
    image = make.pictures(1, 48)
    cut = adopt_tflite(write_tree(tree, "cut"))
    # Floats are pixels from 0 to 255 there; the cut graph took (x - 128) / 128.
    given = image if dtype == "int8" else ((image.astype(np.float32) - 128) / 128)
    if dtype == "int8":
        np.testing.assert_array_equal(run(cut, given), run(model, image))
    else:
        bare = read_tree(cut).subgraphs[0]
        assert [bare.tensors[i].name for i in (bare.inputs[0], bare.outputs[0])] == [b"image", b"features"]


def test_other_ends_are_refused(graph, make):
    def changed(act):
        tree = read_tree(write_backbone_tflite(graph))
        act(tree.subgraphs[0])
        return write_tree(tree, "x")

    def shape(index, value):
        return lambda g: setattr(g.tensors[(g.inputs[0], g.outputs[0])[index]], "shape", value)

    for index, value, message in (
        (0, [1, 3, 48, 48], r"\(1, 3, 48, 48\); expected"),
        (0, [2, 48, 48, 3], "expected"),
        (1, [2, 16], "expected one vector"),
        (1, [1, 1], "expected one vector"),
    ):
        with pytest.raises(InputError, match=message):
            adopt_tflite(changed(shape(index, value)))
    with pytest.raises(InputError):
        adopt_tflite(b"not a model")
