"""ONNX files: checked with onnx's own checker and shape inference, run with ONNX Runtime."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from t2m_exporters.graph import run
from t2m_exporters.onnx import append_head_onnx, write_backbone_onnx
from t2m_exporters.quantize import quantize_graph, quantize_head
from t2m_runtime.artifact import read_manifest
from t2m_runtime.errors import InputError

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


def execute(model: bytes, images: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.stack([session.run(None, {"image": image[None]})[0][0] for image in images])


def checked(model: bytes) -> onnx.ModelProto:
    """The parsed model, after the checker has read it with strict shape inference."""
    parsed = onnx.load_from_string(model)
    onnx.checker.check_model(parsed, full_check=True)
    onnx.shape_inference.infer_shapes(parsed, check_type=True, strict_mode=True, data_prop=True)
    return parsed


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@pytest.fixture(scope="module")
def float_backbone(graph):
    return write_backbone_onnx(graph)


@pytest.fixture(scope="module")
def int8_backbone(quantized):
    return write_backbone_onnx(quantized)


@pytest.fixture(scope="module")
def bank(int8_backbone, make):
    return execute(int8_backbone, make.pictures(200, 48, seed=7))


@pytest.fixture(scope="module")
def unseen(make):
    return make.pictures(24, 48, seed=8)


@pytest.mark.parametrize("which", ["graph", "foreign_graph"])
def test_backbones_pass_the_checker_and_follow_the_float_graph(which, make, request):
    graph = request.getfixturevalue(which)
    side = graph.input_shape[0]
    images = make.pictures(12, side, seed=8)
    expected = run(graph, images, [graph.output])[graph.output]
    model = write_backbone_onnx(graph)
    checked(model)
    np.testing.assert_allclose(execute(model, images), expected, rtol=1e-4, atol=1e-5)
    quantized = quantize_graph(graph, make.pictures(48, side))
    model = write_backbone_onnx(quantized)
    checked(model)
    found = quantized.features.dequantize(execute(model, images))
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.99


def test_versions_are_low_and_there_is_one_transpose(float_backbone, int8_backbone):
    for file, opset, ir in ((float_backbone, 9, 4), (int8_backbone, 13, 7)):
        model = checked(file)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
        assert model.ir_version == ir <= 9
        assert Counter(node.op_type for node in model.graph.node)["Transpose"] == 1


def test_int8_onnx_and_int8_litert_agree_to_a_few_steps(quantized, int8_backbone, unseen):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    from t2m_exporters.tflite import write_backbone_tflite

    interpreter = litert.Interpreter(model_content=write_backbone_tflite(quantized), num_threads=1)
    interpreter.allocate_tensors()
    found = []
    for image in unseen:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0].copy())
    steps = np.abs(np.stack(found).astype(int) - execute(int8_backbone, unseen))
    assert steps.max() <= 8 and steps.mean() < 0.5


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("k", [2, 10, 1000])
def test_a_float_classifier_gives_the_heads_softmax(make, graph, float_backbone, unseen, k, hidden):
    head = make.head(k, 32, hidden)
    model = append_head_onnx(float_backbone, head, make.manifest(head, "onnx", "fp32", 48))
    checked(model)
    found = execute(model, unseen)
    assert found.dtype == np.float32 and found.shape == (24, k)
    np.testing.assert_allclose(found, softmax(head.logits(run(graph, unseen, ["unit"])["unit"])), atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-3)


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("k", [2, 10, 1000])
def test_int8_logits_are_within_a_step_of_the_numpy_head(make, int8_backbone, bank, unseen, k, hidden):
    head = make.head(k, 32, hidden)
    quantized = quantize_head(head, bank, 1 / 128)
    model = append_head_onnx(int8_backbone, quantized, make.manifest(head, "onnx", "int8", 48, "logits"))
    checked(model)
    scale = quantized.layers[-1].output_scale
    steps = np.abs(execute(model, unseen) - quantized.logits(execute(int8_backbone, unseen))) / scale
    assert steps.max() < 1.01
    scores = append_head_onnx(int8_backbone, quantized, make.manifest(head, "onnx", "int8", 48))
    checked(scores)
    np.testing.assert_allclose(execute(scores, unseen).sum(1), 1, atol=1e-3)


def test_ends_are_named_and_fixed(make, float_backbone):
    head = make.head(3, 32)
    graph = checked(append_head_onnx(float_backbone, head, make.manifest(head, "onnx", "fp32", 48))).graph
    assert [(i.name, i.type.tensor_type.elem_type) for i in graph.input] == [("image", onnx.TensorProto.UINT8)]
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [1, 48, 48, 3]
    assert [o.name for o in graph.output] == ["scores"]
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [1, 3]


def test_metadata_props_hold_manifest_labels_and_pixel_format(make, float_backbone):
    head = replace(make.head(3, 32), labels=("Äpfel", "a b", "zebra, striped"))
    manifest = make.manifest(head, "onnx", "fp32", 48)
    model = append_head_onnx(float_backbone, head, manifest)
    properties = {p.key: p.value for p in onnx.load_from_string(model).metadata_props}
    assert json.loads(properties["labels"]) == list(head.labels)
    assert json.loads(properties["t2m_manifest"])["labels"] == list(head.labels)
    assert properties["Image.BitmapPixelFormat"] == "Rgb8"
    assert read_manifest(model) == manifest


def test_the_appended_bytes_are_canonical(make, int8_backbone, bank):
    head = make.head(6, 32, 8)
    model = append_head_onnx(int8_backbone, quantize_head(head, bank, 1 / 128), make.manifest(head, "onnx", "int8", 48))
    parsed = onnx.load_from_string(model)
    again = parsed.SerializeToString(deterministic=True)
    assert len(again) == len(model) and onnx.load_from_string(again) == parsed
    assert len({node.name for node in parsed.graph.node}) == len(parsed.graph.node)


def test_same_inputs_give_the_same_bytes(make, graph, images, float_backbone, int8_backbone, bank):
    assert write_backbone_onnx(graph) == float_backbone
    assert write_backbone_onnx(quantize_graph(graph, images)) == int8_backbone
    head = make.head(5, 32, 8)
    manifest = make.manifest(head, "onnx", "int8", 48)
    first, second = (append_head_onnx(int8_backbone, quantize_head(head, bank, 1 / 128), manifest) for _ in range(2))
    assert first == second


def refused(backbone: bytes, head, manifest) -> str:
    with pytest.raises(InputError) as caught:
        append_head_onnx(backbone, head, manifest)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_belong_together_is_refused(make, float_backbone, int8_backbone, bank):
    head = make.head(3, 32)
    quantized = quantize_head(head, bank, 1 / 128)
    fp32, int8 = (make.manifest(head, "onnx", p, 48) for p in ("fp32", "int8"))
    assert "precision" in refused(int8_backbone, head, fp32)
    assert "precision" in refused(float_backbone, quantized, int8)
    assert "tflite" in refused(float_backbone, head, make.manifest(head, "tflite", "fp32", 48))
    assert "shape" in refused(float_backbone, make.head(3, 31), fp32)
    assert "labels" in refused(float_backbone, head, make.manifest(make.head(4, 32), "onnx", "fp32", 48))
    assert "96" in refused(float_backbone, head, make.manifest(head, "onnx", "fp32", 96))
    assert "scale" in refused(int8_backbone, replace(quantized, input_scale=1 / 64), int8)


def test_a_damaged_backbone_is_refused_or_read_but_never_another_error(make, int8_backbone, bank):
    head = make.head(3, 32)
    quantized, manifest = quantize_head(head, bank, 1 / 128), make.manifest(head, "onnx", "int8", 48)
    for cut in (0, 1, 7, 64, 512, len(int8_backbone) // 2, len(int8_backbone) - 16):
        refused(int8_backbone[:cut], quantized, manifest)
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(int8_backbone)
        for place in rng.integers(0, len(damaged), 20):
            damaged[place] = rng.integers(0, 256)
        with contextlib.suppress(InputError):
            append_head_onnx(bytes(damaged), quantized, manifest)
