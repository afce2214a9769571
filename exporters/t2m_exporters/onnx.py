"""Backbone graphs as ``.onnx``, and a head appended to one: NCHW inside, one Transpose at the front.

int8 models hold QuantizeLinear / DequantizeLinear pairs of uint8 activations and uint8 weights: the int8 numbers plus
128, so the values are the same. The reason is ONNX Runtime on x86 without VNNI, which adds pairs of uint8 x int8
products in saturating 16 bits: there int8 logits of 1,000 classes came out up to 16 steps wrong, and uint8 x uint8 is
exact, and faster than int8 x int8. Only the features are int8, as the feature bank and heads have them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from t2m_exporters.fit import check_fit
from t2m_exporters.tensor_names import FEATURES, HEAD, SCORES
from t2m_exporters.weights import SMALLEST_INT8, half, head_axis, symmetric_int8
from t2m_runtime import onnx_wire as wire
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead
from t2m_runtime.tflite_file import Tensor

if TYPE_CHECKING:
    from t2m_exporters.graph import Graph
    from t2m_exporters.quantize import QuantizedGraph
    from t2m_runtime.manifest import Manifest

QUANTIZE_OPSET = 10
"""The first opset with QuantizeLinear."""

MANIFEST_KEY = "t2m_manifest"
LABELS_KEY = "labels"
_IMAGE_PROPS = {
    "Image.BitmapPixelFormat": "Rgb8",
    "Image.ColorSpaceGamma": "SRGB",
    "Image.NominalPixelRange": "NominalRange_0_255",
}
"""ONNX's own metadata keys for image inputs (docs/MetadataProps.md)."""


def write_backbone_onnx(graph: Graph | QuantizedGraph) -> bytes:
    """A backbone as a complete ONNX model.

    Args:
        graph: float32, or int8 from quantize_graph (written as QuantizeLinear / DequantizeLinear pairs).

    Returns:
        The file. Input "image": uint8 (1, H, W, C). Output "features": float32 (1, d), or int8 (1, d).
    """
    from t2m_exporters.onnx_backbone import BackboneWriter

    writer = BackboneWriter(graph)
    return writer.write([writer.graph.output], FEATURES, 1)


def write_activations_onnx(graph: Graph, outputs: list[str]) -> bytes:
    """The float graph with any number of images a call and chosen tensors as outputs, NCHW or (n, d), in that order."""
    from t2m_exporters.onnx_backbone import BackboneWriter

    return BackboneWriter(graph).write(outputs, None, "n")


def append_head_onnx(backbone: bytes, head: Head | QuantizedHead, manifest: Manifest) -> bytes:
    """A classifier: backbone + Gemm (one or two) + what ``manifest.output`` asks for, labels in metadata_props.

    Args:
        backbone: a pack's graph in the manifest's precision: int8 for a QuantizedHead, else float features.
        head: reads the backbone's features.
        manifest: names the same labels; stored as JSON under "t2m_manifest".

    Returns:
        The file. Input "image": uint8 (1, H, W, 3); output "scores": (1, k), as ``manifest.output`` says.

    Raises:
        InputError: head, backbone and manifest do not belong together, or the backbone's bytes are damaged.
    """
    model = memoryview(backbone)
    graphs = [(start, value, end) for number, _, start, value, end in wire.fields(model) if number == 7]
    if len(graphs) != 1:
        raise InputError("the backbone is no ONNX model with one graph; use the pack's own file")
    start, value, end = graphs[0]
    graph = model[value:end]
    image, features, kept = _read_graph(graph)
    check_fit(image, features, head, manifest, "onnx")

    nodes, initializers = _head(head, f"{HEAD}logits", manifest.precision)
    tail, constants = _tail(head, manifest)
    nodes += tail
    initializers += constants
    added = b"".join(wire.block(1, node) for node in nodes)
    added += b"".join(wire.block(5, tensor) for tensor in initializers)
    added += wire.block(12, wire.value_info(SCORES, manifest.output.dtype, (1, len(head.labels))))
    properties = {
        MANIFEST_KEY: manifest.to_json(),
        LABELS_KEY: json.dumps(head.labels, ensure_ascii=False),
        **_IMAGE_PROPS,
    }
    tail = b"".join(wire.block(14, wire.block(1, key) + wire.block(2, text)) for key, text in properties.items())
    length = sum(len(part) for part in kept) + len(added)
    least = QUANTIZE_OPSET if manifest.output.dtype != "float32" else 0
    before, after = (_with_opset(part, least) for part in (model[:start], model[end:]))
    return b"".join([*before, wire.header(7, length), *kept, added, *after, tail])


def _with_opset(fields: memoryview, least: int) -> list[bytes | memoryview]:
    """Top-level fields of a model, the version of its operator set raised to ``least``."""
    out: list[bytes | memoryview] = []
    for number, kind, start, value, stop in wire.fields(fields):
        field = fields[start:stop]
        if number == 8 and kind == wire.BYTES:
            for part, form, _, place, _ in wire.fields(fields[value:stop]):
                if (part, form) == (2, wire.VARINT) and wire.read_varint(fields[value:stop], place) < least:
                    field = wire.block(8, wire.block(1, "") + wire.number(2, least))
        out.append(field)
    return out


def _read_graph(graph: memoryview) -> tuple[Tensor, Tensor, list[memoryview]]:
    """Input, output, and the graph's bytes without the output field."""
    ends: dict[int, Tensor] = {}
    kept, constants, position = [], {}, 0
    for number, kind, start, value, stop in wire.fields(graph):
        if number in (11, 12):
            if number in ends or kind != wire.BYTES:
                raise InputError("the backbone must have one input and one output; use the pack's own file")
            ends[number] = _read_end(graph[value:stop])
        if number == 12:
            kept.append(graph[position:start])
            position = stop
        if number == 5 and kind == wire.BYTES and stop - value < 64:
            constants.update(_read_constant(graph[value:stop]))
    kept.append(graph[position:])
    if set(ends) != {11, 12}:
        raise InputError("the backbone must have one input and one output; use the pack's own file")
    features = ends[12]
    if features.dtype == "int8":
        scale, zero_point = (constants.get(f"{FEATURES}/{what}", b"") for what in ("scale", "zero_point"))
        if len(scale) != 4 or len(zero_point) != 1:
            raise InputError("the backbone does not say how its features are quantised; use the pack's own file")
        number, zero = np.frombuffer(scale, "<f4")[0], np.frombuffer(zero_point, "i1")[0]
        features = Tensor(features.name, features.shape, features.dtype, (float(number),), (int(zero),))
    return ends[11], features, kept


def _read_end(info: memoryview) -> Tensor:
    """Tensor from a ValueInfoProto with a fixed shape."""
    name, dtype, shape = "", "?", []
    for number, _, _, value, stop in wire.fields(info):
        if number == 1:
            name = wire.text(info[value:stop])
        if number == 2:
            for tensor in wire.blocks(info[value:stop], 1):
                for kind, form, _, place, finish in wire.fields(tensor):
                    if kind == 1 and form == wire.VARINT:
                        code = wire.read_varint(tensor, place)
                        dtype = {wire.FLOAT: "float32", wire.UINT8: "uint8", wire.INT8: "int8"}.get(code, "?")
                    if kind == 2 and form == wire.BYTES:
                        shape = [_read_dim(dim) for dim in wire.blocks(tensor[place:finish], 1)]
    return Tensor(name, tuple(shape), dtype)


def _read_dim(dim: memoryview) -> int:
    sizes = [wire.read_varint(dim, value) for number, kind, _, value, _ in wire.fields(dim) if (number, kind) == (1, 0)]
    return sizes[0] if sizes else -1


def _read_constant(tensor: memoryview) -> dict[str, bytes]:
    """Name and raw data of a small TensorProto."""
    names, data = wire.blocks(tensor, 8), wire.blocks(tensor, 9)
    return {wire.text(names[0]): bytes(data[0])} if len(names) == 1 and len(data) == 1 else {}


def _head(head: Head | QuantizedHead, result: str, precision: str) -> tuple[list[bytes], list[bytes]]:
    """NodeProtos and TensorProtos from "features" to float logits named ``result``."""
    if isinstance(head, Head):
        return _float_head(head, result, precision)
    nodes: list[bytes] = []
    constants: list[bytes] = []

    def dequantize(tensor: str, owner: str, target: str, **attributes: int) -> None:
        nodes.append(wire.node("DequantizeLinear", [tensor, *owner.split()], [target], **attributes))

    def scalars(name: str, scale: float, zero_point: int) -> str:
        constants.append(wire.tensor(f"{name}/scale", np.array(scale, np.float32)))
        constants.append(wire.tensor(f"{name}/zero_point", np.array(zero_point + 128, np.uint8)))
        return f"{name}/scale {name}/zero_point"

    source, scale = f"{HEAD}{FEATURES}", head.input_scale
    dequantize(FEATURES, f"{FEATURES}/scale {FEATURES}/zero_point", f"{source}/float")
    owner = scalars(source, scale, head.input_zero_point)
    nodes.append(wire.node("QuantizeLinear", [f"{source}/float", *owner.split()], [f"{source}/quantized"]))
    dequantize(f"{source}/quantized", owner, source)
    for index, layer in enumerate(head.layers):
        last = index + 1 == len(head.layers)
        name = f"{HEAD}last" if last else f"{HEAD}hidden"
        bias_scale = np.float32(scale) * layer.weight_scale
        constants += [
            wire.tensor(f"{name}/weight_quantized", unsigned(layer.weight)),
            wire.tensor(f"{name}/weight_scale", layer.weight_scale),
            wire.tensor(f"{name}/weight_zero_point", np.full(len(layer.bias), 128, np.uint8)),
            wire.tensor(f"{name}/bias_quantized", layer.bias),
            wire.tensor(f"{name}/bias_scale", bias_scale),
            wire.tensor(f"{name}/bias_zero_point", np.zeros(len(layer.bias), np.int32)),
        ]
        dequantize(
            f"{name}/weight_quantized", f"{name}/weight_scale {name}/weight_zero_point", f"{name}/weight", axis=0
        )
        dequantize(f"{name}/bias_quantized", f"{name}/bias_scale {name}/bias_zero_point", f"{name}/bias", axis=0)
        target = f"{name}/sum"
        nodes.append(wire.node("Gemm", [source, f"{name}/weight", f"{name}/bias"], [target], transB=1))
        if not last:
            nodes.append(wire.node("Relu", [target], [f"{name}/relu"]))
            target = f"{name}/relu"
        owner = scalars(name, layer.output_scale, layer.output_zero_point)
        nodes.append(wire.node("QuantizeLinear", [target, *owner.split()], [f"{name}/quantized"]))
        source, scale = result if last else name, layer.output_scale
        dequantize(f"{name}/quantized", owner, source)
    return nodes, constants


def _float_head(head: Head, result: str, precision: str) -> tuple[list[bytes], list[bytes]]:
    """The same for float features, weights stored as the precision says (weights.rounded_head)."""
    nodes: list[bytes] = []
    constants: list[bytes] = []

    def constant(name: str, values: np.ndarray) -> str:
        if precision == "fp16":
            constants.append(wire.tensor(f"{name}/float16", half(values)))
            nodes.append(wire.node("Cast", [f"{name}/float16"], [name], to=wire.FLOAT))
        else:
            constants.append(wire.tensor(name, values))
        return name

    source = FEATURES
    for index, layer in enumerate(head.layers):
        last = index + 1 == len(head.layers)
        name = f"{HEAD}last" if last else f"{HEAD}hidden"
        target = result if last else f"{name}/sum"
        bias = constant(f"{name}/bias", layer.bias)
        if precision == "int8-dynamic" and layer.weight.size >= SMALLEST_INT8:
            values, scale = symmetric_int8(layer.weight, head_axis("onnx"))
            constants += [
                wire.tensor(f"{name}/weight_columns", np.ascontiguousarray(unsigned(values).T)),
                wire.tensor(f"{name}/weight_zero_point", np.array(128, np.uint8)),
                wire.tensor(f"{name}/weight_scale", scale),
            ]
            x = [f"{name}/input_quantized", f"{name}/input_scale", f"{name}/input_zero_point"]
            nodes += [
                wire.node("DynamicQuantizeLinear", [source], x),
                wire.node(
                    "MatMulInteger",
                    [x[0], f"{name}/weight_columns", x[2], f"{name}/weight_zero_point"],
                    [f"{name}/int32"],
                ),
                wire.node("Cast", [f"{name}/int32"], [f"{name}/float"], to=wire.FLOAT),
                wire.node("Mul", [x[1], f"{name}/weight_scale"], [f"{name}/step"]),
                wire.node("Mul", [f"{name}/float", f"{name}/step"], [f"{name}/scaled"]),
                wire.node("Add", [f"{name}/scaled", bias], [target]),
            ]
        else:
            weight = constant(f"{name}/weight", layer.weight)
            nodes.append(wire.node("Gemm", [source, weight, bias], [target], transB=1))
        if not last:
            nodes.append(wire.node("Relu", [target], [name]))
        source = name
    return nodes, constants


def _tail(head: Head | QuantizedHead, manifest: Manifest) -> tuple[list[bytes], list[bytes]]:
    """NodeProtos and TensorProtos from float logits to the output."""
    output, source, nodes = manifest.output, f"{HEAD}logits", []
    integer = output.dtype != "float32"
    if output.scores == "softmax":
        target = f"{HEAD}scores" if integer else SCORES
        nodes.append(wire.node("Softmax", [source], [target], axis=1))
        source = target
    elif output.scores == "sigmoid":
        nodes.append(wire.node("Sigmoid", [source], [SCORES]))
    elif not integer:
        nodes.append(wire.node("Identity", [source], [SCORES]))
    if not integer:
        return nodes, []
    names = [f"{HEAD}output/scale", f"{HEAD}output/zero_point"]
    nodes.append(wire.node("QuantizeLinear", [source, *names], [SCORES]))
    zero = np.array(output.zero_point, output.dtype)
    return nodes, [wire.tensor(names[0], np.array(output.scale, np.float32)), wire.tensor(names[1], zero)]


def unsigned(values: np.ndarray) -> np.ndarray:
    """int8 -> uint8, each 128 more."""
    return values.view(np.uint8) ^ np.uint8(128)
