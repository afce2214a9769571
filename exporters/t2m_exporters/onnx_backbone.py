"""Writes a backbone graph as ``.onnx``; onnx.py says what it has."""

from __future__ import annotations

import numpy as np

from t2m_exporters.graph import (
    Add,
    Conv,
    Dense,
    DepthwiseConv,
    Graph,
    L2Normalize,
    Mean,
    Node,
    input_form,
    inputs,
    same_padding,
    shapes,
)
from t2m_exporters.onnx import unsigned
from t2m_exporters.quantize import QuantizedGraph
from t2m_exporters.ranges import Quantization
from t2m_exporters.tensor_names import INPUT

FLOAT_OPSET, FLOAT_IR = 9, 4
"""Opset 9 is the first with Flatten and Gemm as used here; IR 4 the first whose initializers are not also inputs."""
INT8_OPSET, INT8_IR = 13, 7
"""Opset 13 is the first with per-channel DequantizeLinear."""


class BackboneWriter:
    """Writes one graph with onnx.helper; float tensors of node x are named x, or x/float beside the quantised x."""

    def __init__(self, source: Graph | QuantizedGraph) -> None:
        self.quantized = source if isinstance(source, QuantizedGraph) else None
        self.graph = graph = source if isinstance(source, Graph) else source.graph
        self.form = input_form(graph)
        whole = Graph(graph.input_shape, graph.mean, graph.std, self.form.nodes, graph.output)
        self.shapes = shapes(whole)
        self.nodes: list = []
        self.constants: list = []
        self.renamed: dict[str, str] = {}

    def write(self, outputs: list[str], name: str | None, batch: int | str) -> bytes:
        """The model; ``name`` renames its only output, ``batch`` is the size or name of the first axis."""
        from onnx import TensorProto, helper

        height, width, channels = self.graph.input_shape
        if name is not None:
            self.renamed[outputs[0]] = name
        self._input()
        for node in self.form.nodes:
            self._node(node)
        dtype = TensorProto.FLOAT if self.quantized is None else TensorProto.INT8
        results = []
        # What a graph's nodes call "image" is normalised, by a node of its own where input_form put one in front.
        front = INPUT if self.form.nodes is self.graph.nodes else self.form.nodes[0].name
        for output in (front if wanted == INPUT else wanted for wanted in outputs):
            shape = self.shapes[output]
            shape = (shape[2], shape[0], shape[1]) if len(shape) == 3 else shape
            results.append(helper.make_tensor_value_info(self._name(output), dtype, [batch, *shape]))
        image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, height, width, channels])
        graph = helper.make_graph(self.nodes, "main", [image], results, self.constants)
        opset, version = (FLOAT_OPSET, FLOAT_IR) if self.quantized is None else (INT8_OPSET, INT8_IR)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version, producer_name="t2m-edge"
        )
        return model.SerializeToString(deterministic=True)

    def _name(self, tensor: str) -> str:
        # "image" is the uint8 input; what the nodes read is its normalised form.
        return "image_normalised" if tensor == INPUT else self.renamed.get(tensor, tensor)

    def _add(self, kind: str, sources: list[str], result: str, **attributes: object) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, sources, [result], name=result, **attributes))
        return result

    def _constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def _input(self) -> None:
        form, name = self.form, self._name(INPUT)
        if self.quantized is None:
            pixels = self._add("Transpose", [INPUT], "image_nchw", perm=[0, 3, 1, 2])
            x = self._add("Cast", [pixels], "image_float", to=1)
            x = self._add("Sub", [x, self._constant("image/mean", np.float32(form.zero_point))], "image_centred")
            self._add("Mul", [x, self._constant("image/scale", np.float32(form.scale))], name)
            return
        # The bytes of the image are the quantised tensor.
        self._add("Transpose", [INPUT], name, perm=[0, 3, 1, 2])
        self._scalars(name, self.quantized.activations[INPUT], np.uint8)

    def _quantize(self, source: str, node: str) -> None:
        name, dtype = self._name(node), np.int8 if node == self.graph.output else np.uint8
        self._add("QuantizeLinear", [source, *self._scalars(name, self.quantized.activations[node], dtype)], name)

    def _scalars(self, name: str, found: Quantization, dtype: type) -> list[str]:
        zero = dtype(found.zero_point + (128 if dtype is np.uint8 else 0))
        return [
            self._constant(f"{name}/scale", np.float32(found.scale)),
            self._constant(f"{name}/zero_point", zero),
        ]

    def _read(self, tensor: str, reader: str) -> str:
        """Name of a float form of a tensor; a quantised one gets a DequantizeLinear of its own for each reader."""
        name = self._name(tensor)
        if self.quantized is None:
            return name
        return self._add("DequantizeLinear", [name, f"{name}/scale", f"{name}/zero_point"], f"{name}/for/{reader}")

    def _node(self, node: Node) -> None:
        name = self._name(node.name)
        sources = [self._read(source, f"{name}/{i}") for i, source in enumerate(inputs(node))]
        result = name if self.quantized is None else f"{name}/float"
        relu = getattr(node, "relu", False)
        target = f"{name}/sum" if relu else result
        if isinstance(node, (Conv, DepthwiseConv)):
            self._add("Conv", [*sources, *self._weights(node, name)], target, **self._window(node))
        elif isinstance(node, Dense):
            self._add("Gemm", [*sources, *self._weights(node, name)], target, transB=1)
        elif isinstance(node, Add):
            self._add("Add", sources, target)
        elif isinstance(node, Mean):
            self._add("Flatten", [self._add("GlobalAveragePool", sources, f"{name}/mean")], target)
        elif isinstance(node, L2Normalize):
            self._add("LpNormalization", sources, target, axis=1, p=2)
        if relu:
            self._add("Relu", [target], result)
        if self.quantized is not None:
            self._quantize(result, node.name)

    def _window(self, node: Conv | DepthwiseConv) -> dict[str, object]:
        """Attributes of a Conv: explicit pads, which mean the same in every reader."""
        size = self.shapes[node.input][:2]
        kernel = node.weight.shape[1:3] if isinstance(node, Conv) else node.weight.shape[:2]
        pads = [same_padding(n, k, node.stride) for n, k in zip(size, kernel, strict=True)]
        return {
            "kernel_shape": list(kernel),
            "strides": [node.stride, node.stride],
            "pads": [before for before, _ in pads] + [after for _, after in pads],
            "group": 1 if isinstance(node, Conv) else node.weight.shape[-1],
        }

    def _weights(self, node: Conv | DepthwiseConv | Dense, name: str) -> list[str]:
        def arranged(weight: np.ndarray) -> np.ndarray:
            if isinstance(node, Conv):
                return weight.transpose(0, 3, 1, 2)
            return weight.transpose(2, 0, 1)[:, None] if isinstance(node, DepthwiseConv) else weight

        if self.quantized is None:
            return [
                self._constant(f"{name}/weight", arranged(node.weight)),
                self._constant(f"{name}/bias", node.bias),
            ]
        found = self.quantized.weights[node.name]
        bias_scale = np.float32(self.quantized.activations[node.input].scale) * found.scale
        parts = (
            ("weight", unsigned(arranged(found.weight)), found.scale, 128),
            ("bias", found.bias, bias_scale, 0),
        )
        out = []
        for what, values, scale, zero in parts:
            whole = self._constant(f"{name}/{what}_quantized", values)
            scales = self._constant(f"{name}/{what}_scale", scale)
            zeros = self._constant(f"{name}/{what}_zero_point", np.full(len(scale), zero, values.dtype))
            out.append(self._add("DequantizeLinear", [whole, scales, zeros], f"{name}/{what}", axis=0))
        return out
