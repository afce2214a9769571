"""Small real models for the runtime's tests, with a manifest attached.

All classify by colour: features are the mean red, green and blue, and the head's rows pick one each.
"""

from __future__ import annotations

import dataclasses
import io
import zipfile

import numpy as np
import pytest

from t2m_runtime.head import Head, Layer, QuantizedHead
from t2m_runtime.manifest import InputSpec, Manifest, OutputSpec, PackRef
from t2m_runtime.self_test import SelfTest

LABELS = ("red", "green", "blue")


def make_manifest(**changes) -> Manifest:
    values = {
        "schema_version": 1,
        "name": "colours",
        "labels": LABELS,
        "thresholds": (None,) * len(changes.get("labels", LABELS)),
        "target": "tflite",
        "precision": "fp32",
        "input": InputSpec(height=8, width=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        "output": OutputSpec(),
        "pack": PackRef(name="default", version="1", sha256="a" * 64),
        "backbone_sha256": "b" * 64,
        "tool_version": "0.1.0",
        "self_test": None,
    }
    return Manifest(**{**values, **changes})


def colour_head() -> Head:
    """Logits = mean colour * 0.05."""
    return Head(LABELS, (Layer(np.eye(3, dtype=np.float32) * np.float32(0.05), np.zeros(3, np.float32)),))


def expected_scores(image: np.ndarray) -> np.ndarray:
    logits = colour_head().logits(image.reshape(-1, 3).astype(np.float32).mean(0, keepdims=True))[0]
    exp = np.exp(logits - logits.max())
    return exp / exp.sum()


def attach(model: bytes, manifest: Manifest | str | bytes, name: str = "t2m_manifest.json", **options) -> bytes:
    """Appends a zip with the manifest, as TFLite Metadata does with associated files."""
    file = io.BytesIO(model)
    text = manifest.to_json() if isinstance(manifest, Manifest) else manifest
    with zipfile.ZipFile(file, "a", **options) as archive:
        archive.writestr("labels.txt", "\n".join(LABELS))
        archive.writestr(name, text)
    return file.getvalue()


class TfliteWriter:
    """Collects tensors and operators, then packs them."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.buffers = [schema.BufferT()]
        self.tensors, self.operators, self.codes = [], [], []

    def tensor(self, name, shape, type_name, data=None, scales=None, zero_point=0, axis=0) -> int:
        schema, index = self.schema, 0
        if data is not None:
            index = len(self.buffers)
            self.buffers.append(schema.BufferT(data=np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)))
        tensor = schema.TensorT(shape=list(shape), type=getattr(schema.TensorType, type_name), buffer=index, name=name)
        if scales is not None:
            tensor.quantization = schema.QuantizationParametersT(
                scale=[float(s) for s in scales], zeroPoint=[zero_point] * len(scales), quantizedDimension=axis
            )
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, code_name, inputs, outputs, options_name=None, version=1, **options) -> None:
        schema = self.schema
        code = getattr(schema.BuiltinOperator, code_name)
        self.codes.append(schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=version))
        operator = schema.OperatorT(opcodeIndex=len(self.codes) - 1, inputs=list(inputs), outputs=list(outputs))
        if options_name:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options_name)
            operator.builtinOptions = getattr(schema, options_name + "T")(**options)
        self.operators.append(operator)

    def pack(self, inputs, outputs) -> bytes:
        import flatbuffers

        schema = self.schema
        graph = schema.SubGraphT(
            tensors=self.tensors, inputs=list(inputs), outputs=list(outputs), operators=self.operators, name="main"
        )
        model = schema.ModelT(version=3, operatorCodes=self.codes, subgraphs=[graph], buffers=self.buffers)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def colour_tflite(side: int = 8, input_type: str = "UINT8", classes: int = 3) -> bytes:
    """uint8 image -> DEQUANTIZE -> MEAN -> FULLY_CONNECTED -> SOFTMAX."""
    layer, w = colour_head().layers[0], TfliteWriter()
    image = w.tensor("image", (1, side, side, 3), input_type, scales=(1.0,) if input_type != "FLOAT32" else None)
    pixels = w.tensor("pixels", (1, side, side, 3), "FLOAT32")
    if input_type == "FLOAT32":
        pixels = image
    else:
        w.operator("DEQUANTIZE", [image], [pixels])
    axes = w.tensor("axes", (2,), "INT32", np.array([1, 2], np.int32))
    features = w.tensor("features", (1, 3), "FLOAT32")
    w.operator("MEAN", [pixels, axes], [features], "ReducerOptions", keepDims=False)
    weight = w.tensor("weight", (classes, 3), "FLOAT32", np.resize(layer.weight, (classes, 3)))
    bias = w.tensor("bias", (classes,), "FLOAT32", np.zeros(classes, np.float32))
    logits = w.tensor("logits", (1, classes), "FLOAT32")
    w.operator("FULLY_CONNECTED", [features, weight, bias], [logits], "FullyConnectedOptions")
    scores = w.tensor("scores", (1, classes), "FLOAT32")
    w.operator("SOFTMAX", [logits], [scores], "SoftmaxOptions", beta=1.0)
    return w.pack([image], [scores])


def head_tflite(head: QuantizedHead) -> bytes:
    """int8 features (1, d) -> int8 FULLY_CONNECTED once or twice -> int8 logits (1, k)."""
    w = TfliteWriter()
    scale, zero_point = head.input_scale, head.input_zero_point
    first = current = w.tensor("features", (1, head.n_features), "INT8", scales=[scale], zero_point=zero_point)
    for index, layer in enumerate(head.layers):
        hidden = index + 1 < len(head.layers)
        weight = w.tensor(f"weight{index}", layer.weight.shape, "INT8", layer.weight, layer.weight_scale)
        bias = w.tensor(f"bias{index}", layer.bias.shape, "INT32", layer.bias, layer.weight_scale * np.float32(scale))
        scale, zero_point = layer.output_scale, layer.output_zero_point
        out = w.tensor(f"out{index}", (1, len(layer.bias)), "INT8", scales=[scale], zero_point=zero_point)
        relu = w.schema.ActivationFunctionType.RELU if hidden else w.schema.ActivationFunctionType.NONE
        w.operator(
            "FULLY_CONNECTED",
            [current, weight, bias],
            [out],
            "FullyConnectedOptions",
            version=4,
            fusedActivationFunction=relu,
        )
        current = out
    return w.pack([first], [current])


def colour_onnx(manifest: Manifest | str | None, side: int = 8, classes: int = 3) -> bytes:
    """uint8 image -> Cast -> ReduceMean -> Gemm -> Softmax."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    layer = colour_head().layers[0]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["features"], axes=[1, 2], keepdims=0),
            helper.make_node("Gemm", ["features", "weight", "bias"], ["logits"], transB=1),
            helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        ],
        "main",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, side, side, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes])],
        [
            numpy_helper.from_array(np.resize(layer.weight, (classes, 3)), "weight"),
            numpy_helper.from_array(np.zeros(classes, np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    if manifest is not None:
        text = manifest.to_json() if isinstance(manifest, Manifest) else manifest
        helper.set_model_props(model, {"labels": "red,green,blue", "t2m_manifest": text})
    return model.SerializeToString()


def colour_photo(colour: tuple[int, int, int], side: int = 8) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (side, side, 3)).copy()


def with_self_test(manifest: Manifest) -> Manifest:
    image = np.random.default_rng(0).integers(0, 256, (manifest.input.height, manifest.input.width, 3), np.uint8)
    test = SelfTest.from_image(image, tuple(expected_scores(image).tolist()), tolerance=1e-5)
    return dataclasses.replace(manifest, self_test=test)


class Models:
    """The builders above, for tests (which cannot import this file by name)."""

    labels = LABELS
    attach = staticmethod(attach)
    manifest = staticmethod(make_manifest)
    colour_head = staticmethod(colour_head)
    colour_onnx = staticmethod(colour_onnx)
    colour_photo = staticmethod(colour_photo)
    colour_tflite = staticmethod(colour_tflite)
    expected_scores = staticmethod(expected_scores)
    head_tflite = staticmethod(head_tflite)
    with_self_test = staticmethod(with_self_test)


@pytest.fixture(scope="session")
def models() -> type[Models]:
    return Models


@pytest.fixture(params=["tflite", "onnx"])
def model_bytes(request) -> bytes:
    """A colour classifier with a self-test, in each format."""
    manifest = with_self_test(make_manifest(target=request.param))
    return attach(colour_tflite(), manifest) if request.param == "tflite" else colour_onnx(manifest)
