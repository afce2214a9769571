"""Every cell of target, precision, kind of head and output: what the file gives is what the numbers inside say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2m_exporters.fit import output_quantization
from t2m_exporters.onnx import append_head_onnx, write_backbone_onnx
from t2m_exporters.onnx_derived import derive_onnx
from t2m_exporters.quantize import quantize_head
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_exporters.tflite_derived import derive_tflite
from t2m_exporters.weights import rounded_head
from t2m_runtime.classifier import Classifier
from t2m_runtime.errors import InputError
from t2m_runtime.manifest import OutputSpec

TARGETS = ("tflite", "onnx")
PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic")
WRITE = {"tflite": write_backbone_tflite, "onnx": write_backbone_onnx}
DERIVE = {"tflite": derive_tflite, "onnx": derive_onnx}
APPEND = {"tflite": append_head_tflite, "onnx": append_head_onnx}
# Largest difference of a softmax score to the float model, from the precision alone, on random networks.
CLOSE = {"fp32": 1e-4, "fp16": 0.01, "int8": 0.15, "int8-dynamic": 0.1}


@pytest.fixture(scope="module")
def backbones(graph, quantized):
    """(target, precision) -> bytes."""
    found = {(t, "fp32"): WRITE[t](graph) for t in TARGETS}
    found |= {(t, "int8"): WRITE[t](quantized) for t in TARGETS}
    found |= {(t, p): DERIVE[t](found[t, "fp32"], p) for t in TARGETS for p in ("fp16", "int8-dynamic")}
    return found


@pytest.fixture(scope="module")
def floats(graph, make):
    """images, and their float features."""
    from t2m_exporters.graph import run

    images = make.pictures(16, 48, seed=8)
    return images, run(graph, images, [graph.output])[graph.output]


@pytest.fixture(scope="module")
def bank(graph, quantized, make):
    from t2m_exporters.graph import run

    features = run(graph, make.pictures(120, 48, seed=7), [graph.output])[graph.output]
    return quantized.features.quantize(features)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def artifact(backbones, make, bank, target, precision, hidden=0, k=12, dtype="float32", scores="softmax"):
    head = make.head(k, 32, hidden)
    written = quantize_head(head, bank, 1 / 128) if precision == "int8" else head
    output = OutputSpec(dtype, scores)
    if dtype != "float32":
        output = OutputSpec(dtype, scores, *output_quantization(written, dtype, scores))
    manifest = replace(make.manifest(head, target, precision, 48), output=output)
    return head, APPEND[target](backbones[target, precision], written, manifest)


def scores_of(data: bytes, images: np.ndarray) -> np.ndarray:
    with Classifier.load(data) as classifier:
        return np.stack([classifier.scores(image) for image in images])


@pytest.mark.parametrize("hidden", [0, 48], ids=["linear", "hidden"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_precision_gives_the_float_models_scores(backbones, make, bank, floats, target, precision, hidden):
    images, features = floats
    head, data = artifact(backbones, make, bank, target, precision, hidden, k=40)
    found, expected = scores_of(data, images), softmax(head.logits(features))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-3)
    assert np.abs(found - expected).max() < CLOSE[precision]
    assert np.mean(found.argmax(1) == expected.argmax(1)) >= 0.85


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
@pytest.mark.parametrize("scores", ["softmax", "logits"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_output_says_the_same(backbones, make, bank, floats, target, precision, scores, dtype):
    images, _ = floats
    if scores == "logits" and dtype != "float32" and precision != "int8":
        with pytest.raises(InputError, match="need precision int8"):
            artifact(backbones, make, bank, target, precision, dtype=dtype, scores=scores)
        return
    _, plain = artifact(backbones, make, bank, target, precision, scores="logits")
    _, data = artifact(backbones, make, bank, target, precision, dtype=dtype, scores=scores)
    logits, found = scores_of(plain, images), scores_of(data, images)
    expected = softmax(logits) if scores == "softmax" else logits
    step = 0 if dtype == "float32" or scores == "logits" else 1 / 256
    np.testing.assert_allclose(found, expected, atol=2 * step + 1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("target", TARGETS)
def test_a_derived_precision_is_smaller_by_its_weights(backbones, target):
    sizes = {p: len(backbones[target, p]) for p in PRECISIONS}
    assert 0.5 < sizes["fp16"] / sizes["fp32"] < 0.8
    assert sizes["int8-dynamic"] < 0.75 * sizes["fp32"]


@pytest.mark.parametrize("precision", ["fp16", "int8-dynamic"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_rounded_head_is_what_the_file_holds(backbones, make, bank, floats, target, precision):
    """Its logits on the features that the same backbone gives are the file's, but for the activations' rounding."""
    images, _ = floats
    head, data = artifact(backbones, make, bank, target, precision, k=40, scores="logits")
    held = rounded_head(head, target, precision)
    assert np.abs(held.layers[0].weight - head.layers[0].weight).max() > 0
    manifest = replace(make.manifest(held, target, "fp32", 48, "logits"))
    expected = scores_of(APPEND[target](backbones[target, precision], held, manifest), images)
    close = {"fp16": 1e-5, "int8-dynamic": 0.02}[precision]
    np.testing.assert_allclose(scores_of(data, images), expected, atol=close * np.abs(expected).max())


@pytest.mark.parametrize("derive", [derive_tflite, derive_onnx])
def test_what_is_no_model_is_refused(derive):
    for data in (b"", b"x" * 100, b"\x00\x00\x00\x00TFL3" + b"\x00" * 100):
        with pytest.raises(InputError):
            derive(data, "fp16")


def test_an_unknown_precision_is_refused(backbones):
    for target in TARGETS:
        with pytest.raises(InputError, match="fp16 or int8-dynamic"):
            DERIVE[target](backbones[target, "fp32"], "int4")
