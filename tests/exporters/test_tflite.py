"""TFLite files: read back with the generated schema module, run with LiteRT's own kernels."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from t2m_exporters.graph import run
from t2m_exporters.quantize import quantize_graph, quantize_head
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_runtime.artifact import read_manifest
from t2m_runtime.errors import InputError
from t2m_runtime.head import QuantizedHead

litert = pytest.importorskip("ai_edge_litert.interpreter")
schema = pytest.importorskip("ai_edge_litert.schema_py_generated")

ALLOWED = {
    "QUANTIZE",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "ADD",
    "MEAN",
    "FULLY_CONNECTED",
    "L2_NORMALIZATION",
    "DEQUANTIZE",
    "SOFTMAX",
}
NAMES = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
REFERENCE = litert.OpResolverType.BUILTIN_REF
XNNPACK = litert.OpResolverType.AUTO
KERNELS = pytest.mark.parametrize("kernels", [REFERENCE, XNNPACK], ids=["reference", "xnnpack"])


def parse(model: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))


def operators(model: bytes) -> list[tuple[str, int]]:
    """(name, version) of each operator in order."""
    tree = parse(model)
    codes = [(NAMES[code.builtinCode], code.version) for code in tree.operatorCodes]
    return [codes[operator.opcodeIndex] for operator in tree.subgraphs[0].operators]


def execute(model: bytes, images: np.ndarray, kernels=REFERENCE, tensor: str | None = None) -> np.ndarray:
    """(n, ...) of the output, or of a named tensor."""
    interpreter = litert.Interpreter(
        model_content=model,
        num_threads=1,
        experimental_op_resolver_type=kernels,
        experimental_preserve_all_tensors=tensor is not None,
    )
    interpreter.allocate_tensors()
    index = interpreter.get_output_details()[0]["index"]
    if tensor is not None:
        index = next(d["index"] for d in interpreter.get_tensor_details() if d["name"] == tensor)
    out = []
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        out.append(interpreter.get_tensor(index)[0].copy())
    return np.stack(out)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def float_backbone(graph):
    return write_backbone_tflite(graph)


@pytest.fixture(scope="module")
def int8_backbone(quantized):
    return write_backbone_tflite(quantized)


@pytest.fixture(scope="module")
def bank(int8_backbone, make):
    """int8 (200, 32): what the int8 backbone emits."""
    return execute(int8_backbone, make.pictures(200, 48, seed=7))


@pytest.fixture(scope="module")
def unseen(make):
    return make.pictures(24, 48, seed=8)


@KERNELS
@pytest.mark.parametrize("which", ["graph", "foreign_graph"])
def test_the_float_backbone_equals_the_float_graph(which, kernels, make, request):
    graph = request.getfixturevalue(which)
    images = make.pictures(6, graph.input_shape[0], seed=8)
    expected = run(graph, images, [graph.output])[graph.output]
    np.testing.assert_allclose(
        execute(write_backbone_tflite(graph), images, kernels), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max()
    )


@KERNELS
@pytest.mark.parametrize("which", ["graph", "foreign_graph"])
def test_the_int8_backbone_follows_the_float_graph(which, kernels, make, request):
    graph = request.getfixturevalue(which)
    side = graph.input_shape[0]
    quantized = quantize_graph(graph, make.pictures(48, side))
    images = make.pictures(24, side, seed=8)
    found = quantized.features.dequantize(execute(write_backbone_tflite(quantized), images, kernels))
    assert cosine(found, run(graph, images, [graph.output])[graph.output]).min() > 0.99


@pytest.mark.slow
@KERNELS
def test_the_default_backbones_shape_keeps_its_cosine_in_int8(kernels, make):
    graph = make.resnet()
    quantized = quantize_graph(graph, make.pictures(128, 96, seed=1))
    images = make.pictures(64, 96, seed=2)
    found = quantized.features.dequantize(execute(write_backbone_tflite(quantized), images, kernels))
    assert cosine(found, run(graph, images, ["unit"])["unit"]).mean() > 0.997


def test_operators_and_versions_are_the_lowest_that_express_the_model(float_backbone, int8_backbone):
    block = ["CONV_2D", "CONV_2D", "CONV_2D", "ADD"]
    body = ["CONV_2D", *block * 3, "CONV_2D", "MEAN", "FULLY_CONNECTED", "L2_NORMALIZATION"]
    assert operators(float_backbone) == [(name, 1) for name in ["DEQUANTIZE", *body]]
    version = {"QUANTIZE": 1, "CONV_2D": 3, "ADD": 2, "MEAN": 2, "FULLY_CONNECTED": 4, "L2_NORMALIZATION": 2}
    assert operators(int8_backbone) == [(name, version[name]) for name in ["QUANTIZE", *body]]


def test_only_allowed_operators_are_written_and_the_float_tail_is_dequantize_softmax(
    make, graph, foreign_graph, int8_backbone, bank
):
    head = make.head(5, 32, 8)
    int8 = append_head_tflite(
        int8_backbone, quantize_head(head, bank, 1 / 128), make.manifest(head, "tflite", "int8", 48)
    )
    names = [name for name, _ in operators(int8)]
    assert names[-4:] == ["FULLY_CONNECTED", "FULLY_CONNECTED", "DEQUANTIZE", "SOFTMAX"]
    assert set(names) <= ALLOWED
    tree = parse(int8)
    floats = [t.name.decode() for t in tree.subgraphs[0].tensors if t.type == schema.TensorType.FLOAT32]
    assert floats == ["head/logits", "scores"]
    for model in (foreign_graph, quantize_graph(foreign_graph, make.pictures(8, 32))):
        names = [name for name, _ in operators(write_backbone_tflite(model))]
        assert set(names) <= ALLOWED and "DEPTHWISE_CONV_2D" in names


def test_activations_and_padding_are_stated(int8_backbone, graph):
    tree = parse(int8_backbone)
    convs = [
        o for o in tree.subgraphs[0].operators if NAMES[tree.operatorCodes[o.opcodeIndex].builtinCode] == "CONV_2D"
    ]
    nodes = [node for node in graph.nodes if type(node).__name__ == "Conv"]
    for operator, node in zip(convs, nodes, strict=True):
        options = operator.builtinOptions
        assert options.padding == schema.Padding.SAME
        assert (options.strideH, options.strideW) == (node.stride, node.stride)
        assert options.fusedActivationFunction == int(node.relu)
        assert (options.dilationHFactor, options.dilationWFactor) == (1, 1)


def test_weights_are_int8_per_channel_and_biases_int32_at_the_product_scale(int8_backbone):
    tree = parse(int8_backbone)
    tensors = {t.name.decode(): t for t in tree.subgraphs[0].tensors}
    weight, bias = tensors["b0a/weight"], tensors["b0a/bias"]
    assert weight.type == schema.TensorType.INT8 and len(weight.quantization.scale) == 12
    assert not np.any(weight.quantization.zeroPoint) and weight.quantization.quantizedDimension == 0
    assert bias.type == schema.TensorType.INT32
    product = np.float32(tensors["stem"].quantization.scale[0]) * np.float32(weight.quantization.scale)
    np.testing.assert_array_equal(np.float32(bias.quantization.scale), product)
    features = tensors["features"].quantization
    assert (features.scale[0], features.zeroPoint[0]) == (1 / 128, 0)


def test_buffers_are_aligned_to_16_bytes(make, int8_backbone, bank):
    head = make.head(3, 32)
    quantized = quantize_head(head, bank, 1 / 128)
    for file in (
        int8_backbone,
        append_head_tflite(int8_backbone, quantized, make.manifest(head, "tflite", "int8", 48)),
    ):
        model = schema.Model.GetRootAs(file, 0)
        for i in range(model.BuffersLength()):
            buffer = model.Buffers(i)
            if buffer.DataLength():
                assert buffer._tab.Vector(buffer._tab.Offset(4)) % 16 == 0


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("k", [2, 10, 1000])
def test_a_float_classifier_gives_the_heads_softmax(make, graph, float_backbone, unseen, k, hidden):
    head = make.head(k, 32, hidden)
    model = append_head_tflite(float_backbone, head, make.manifest(head, "tflite", "fp32", 48))
    expected = softmax(head.logits(run(graph, unseen, ["unit"])["unit"]))
    for kernels in (REFERENCE, XNNPACK):
        found = execute(model, unseen, kernels)
        assert found.dtype == np.float32 and found.shape == (24, k)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-3)


@pytest.mark.parametrize("hidden", [0, 24])
@pytest.mark.parametrize("k", [2, 10, 1000])
def test_an_int8_classifier_is_the_numpy_head_on_the_backbones_features(make, int8_backbone, bank, unseen, k, hidden):
    head = make.head(k, 32, hidden)
    quantized = quantize_head(head, bank, 1 / 128)
    model = append_head_tflite(int8_backbone, quantized, make.manifest(head, "tflite", "int8", 48))
    for kernels in (REFERENCE, XNNPACK):
        features = execute(int8_backbone, unseen, kernels)
        found = execute(model, unseen, kernels)
        np.testing.assert_allclose(found.sum(1), 1, atol=1e-3)
        # The kernels round ties differently: one step of the logits, and of a hidden layer one step a unit.
        logits, expected = np.log(np.maximum(found, 1e-30)), quantized.logits(features)
        offset = (logits - expected).mean(1, keepdims=True)
        assert np.median(np.abs(logits - expected - offset)) < quantized.layers[-1].output_scale
        if kernels == REFERENCE:
            np.testing.assert_allclose(found, softmax(expected), atol=0.02)


@pytest.mark.parametrize("hidden", [0, 24])
def test_int8_logits_are_within_a_step_of_the_numpy_head(make, int8_backbone, bank, unseen, hidden):
    head = make.head(100, 32, hidden)
    quantized = quantize_head(head, bank, 1 / 128)
    model = append_head_tflite(int8_backbone, quantized, make.manifest(head, "tflite", "int8", 48))
    features = execute(model, unseen, REFERENCE, "features")
    np.testing.assert_array_equal(features, execute(int8_backbone, unseen))
    steps = execute(model, unseen, REFERENCE, "head/logits_int8").astype(int) - quantized.logits_int8(features)
    assert np.abs(steps).max() <= 1
    assert (steps != 0).mean() < 0.02


def test_logits_are_given_where_the_manifest_says_so(make, int8_backbone, bank, unseen):
    head = make.head(4, 32)
    quantized = quantize_head(head, bank, 1 / 128)
    model = append_head_tflite(int8_backbone, quantized, make.manifest(head, "tflite", "int8", 48, "logits"))
    assert operators(model)[-1][0] == "DEQUANTIZE"
    found = execute(model, unseen)
    np.testing.assert_allclose(
        found, quantized.logits(execute(int8_backbone, unseen)), atol=quantized.layers[0].output_scale * 1.01
    )


def test_the_signature_names_image_and_scores(make, float_backbone, unseen):
    head = make.head(3, 32)
    model = append_head_tflite(float_backbone, head, make.manifest(head, "tflite", "fp32", 48))
    runner = litert.Interpreter(model_content=model).get_signature_runner("serving_default")
    assert list(runner.get_input_details()) == ["image"]
    scores = runner(image=unseen[:1])["scores"]
    np.testing.assert_array_equal(scores, execute(model, unseen[:1], XNNPACK))


def test_the_zip_tail_holds_labels_and_manifest_uncompressed(make, int8_backbone, bank):
    head = replace(make.head(3, 32), labels=("Äpfel", "a b", "zebra, striped"))
    manifest = make.manifest(head, "tflite", "int8", 48)
    model = append_head_tflite(int8_backbone, quantize_head(head, bank, 1 / 128), manifest)
    archive = zipfile.ZipFile(io.BytesIO(model))
    assert archive.namelist() == ["labels.txt", "t2m_manifest.json"] and archive.testzip() is None
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert archive.read("labels.txt").decode() == "Äpfel\na b\nzebra, striped\n"
    assert json.loads(archive.read("t2m_manifest.json"))["labels"] == list(head.labels)
    assert read_manifest(model) == manifest
    # Offsets count from the start of the file, as readers that do not search for the zip's start expect.
    for entry in archive.infolist():
        assert model[entry.header_offset :][:4] == b"PK\x03\x04"


def test_the_metadata_buffer_is_listed_by_name(make, float_backbone):
    head = make.head(3, 32)
    tree = parse(append_head_tflite(float_backbone, head, make.manifest(head, "tflite", "fp32", 48)))
    entry = next(m for m in tree.metadata if m.name == b"TFLITE_METADATA")
    assert bytes(tree.buffers[entry.buffer].data[4:8]) == b"M001"


def test_same_inputs_give_the_same_bytes(make, graph, images, float_backbone, int8_backbone, bank):
    assert write_backbone_tflite(graph) == float_backbone
    assert write_backbone_tflite(quantize_graph(graph, images)) == int8_backbone
    head = make.head(5, 32, 8)
    manifest = make.manifest(head, "tflite", "int8", 48)
    first, second = (append_head_tflite(int8_backbone, quantize_head(head, bank, 1 / 128), manifest) for _ in range(2))
    assert first == second


def test_appending_adds_little_beside_the_heads_own_bytes(make, int8_backbone, bank):
    head = make.head(10, 32)
    model = append_head_tflite(
        int8_backbone, quantize_head(head, bank, 1 / 128), make.manifest(head, "tflite", "int8", 48)
    )
    assert len(model) - len(int8_backbone) < 320 + 6000


def refused(backbone: bytes, head, manifest) -> str:
    with pytest.raises(InputError) as caught:
        append_head_tflite(backbone, head, manifest)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_does_not_belong_together_is_refused(make, float_backbone, int8_backbone, bank):
    head = make.head(3, 32)
    quantized = quantize_head(head, bank, 1 / 128)
    fp32, int8 = (make.manifest(head, "tflite", p, 48) for p in ("fp32", "int8"))
    assert "precision" in refused(int8_backbone, head, fp32)
    assert "precision" in refused(float_backbone, quantized, int8)
    assert "int8" in refused(float_backbone, head, int8)
    assert "onnx" in refused(float_backbone, head, make.manifest(head, "onnx", "fp32", 48))
    assert "shape" in refused(float_backbone, make.head(3, 31), make.manifest(head, "tflite", "fp32", 48))
    assert "labels" in refused(float_backbone, head, make.manifest(make.head(4, 32), "tflite", "fp32", 48))
    assert "96" in refused(float_backbone, head, make.manifest(head, "tflite", "fp32", 96))
    other = QuantizedHead(quantized.labels, 1 / 64, 0, quantized.layers)
    assert "scale" in refused(int8_backbone, other, int8)


def test_a_damaged_backbone_is_refused_at_any_cut(make, int8_backbone, bank):
    head = make.head(3, 32)
    quantized, manifest = quantize_head(head, bank, 1 / 128), make.manifest(head, "tflite", "int8", 48)
    for cut in (0, 3, 8, 64, 512, 4096, len(int8_backbone) // 2, len(int8_backbone) - 16):
        refused(int8_backbone[:cut], quantized, manifest)
    refused(b"PK" + int8_backbone[2:4] + b"ABCD" + int8_backbone[8:], quantized, manifest)


def test_flipped_bytes_in_the_tables_never_escape_as_another_error(make, int8_backbone, bank):
    head = make.head(3, 32)
    quantized, manifest = quantize_head(head, bank, 1 / 128), make.manifest(head, "tflite", "int8", 48)
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(int8_backbone)
        for place in rng.integers(0, 6000, 3):
            damaged[place] = rng.integers(0, 256)
        with contextlib.suppress(InputError):
            append_head_tflite(bytes(damaged), quantized, manifest)
