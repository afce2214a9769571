"""Writes a backbone graph as ``.tflite``; tflite.py says what it has."""

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
    shapes,
)
from t2m_exporters.quantize import QuantizedGraph
from t2m_exporters.tensor_names import FEATURES, INPUT
from t2m_exporters.tflite_tables import ROOM, SAME, ModelWriter, activation


class BackboneWriter:
    """Writes one backbone; keeps which tensor index each node's result has."""

    def __init__(self, source: Graph | QuantizedGraph) -> None:
        self.int8 = isinstance(source, QuantizedGraph)
        self.quantized = source if self.int8 else None
        self.graph = graph = source.graph if self.int8 else source
        self.dtype = "int8" if self.int8 else "float32"
        form = input_form(graph)
        self.scale, self.zero_point, self.nodes = form.scale, form.zero_point, form.nodes
        self.shapes = shapes(Graph(graph.input_shape, graph.mean, graph.std, form.nodes, graph.output))
        size = sum(node.weight.nbytes + 64 * len(node.bias) for node in self.nodes if hasattr(node, "weight"))
        self.writer = ModelWriter(ROOM + 2048 * len(self.nodes) + (size // 3 if self.int8 else size))
        self.index: dict[str, int] = {}

    def write(self) -> bytes:
        image = self.writer.tensor(INPUT, (1, *self.graph.input_shape), "uint8", self.scale, self.zero_point)
        self._result(INPUT, "image_normalised")
        if self.int8:
            self.writer.operator("QUANTIZE", [image], self.index[INPUT], "uint8")
        else:
            self.writer.operator("DEQUANTIZE", [image], self.index[INPUT], "uint8")
        for node in self.nodes:
            self._result(node.name, FEATURES if node.name == self.graph.output else node.name)
            self._write_node(node)
        precision = "int8" if self.int8 else "fp32"
        features = self.index[self.graph.output]
        return b"".join(self.writer.finish((INPUT, image), (FEATURES, features), f"t2m-edge backbone, {precision}"))

    def _result(self, name: str, tensor_name: str) -> None:
        shape = (1, *self.shapes[name])
        if self.quantized is None:
            self.index[name] = self.writer.tensor(tensor_name, shape, self.dtype)
        else:
            found = self.quantized.activations[name]
            self.index[name] = self.writer.tensor(tensor_name, shape, self.dtype, found.scale, found.zero_point)

    def _write_node(self, node: Node) -> None:
        sources = [self.index[name] for name in inputs(node)]
        if isinstance(node, Conv):
            strides = ((0, "Int8", SAME), (1, "Int32", node.stride), (2, "Int32", node.stride))
            weights = self._weights(node, node.name, axis=0)
            self._operator("CONV_2D", node, sources + weights, (*strides, *activation(node.relu, 3)))
        elif isinstance(node, DepthwiseConv):
            strides = ((0, "Int8", SAME), (1, "Int32", node.stride), (2, "Int32", node.stride), (3, "Int32", 1))
            weights = self._weights(node, node.name, axis=3)
            self._operator("DEPTHWISE_CONV_2D", node, sources + weights, (*strides, *activation(node.relu, 4)))
        elif isinstance(node, Dense):
            self._operator(
                "FULLY_CONNECTED", node, sources + self._weights(node, node.name, axis=0), activation(node.relu)
            )
        elif isinstance(node, Add):
            self._operator("ADD", node, sources, activation(node.relu))
        elif isinstance(node, Mean):
            axes = self.writer.tensor(f"{node.name}/axes", (2,), "int32", data=np.array([1, 2], "<i4"))
            self._operator("MEAN", node, [*sources, axes], ((0, "Bool", False),))
        elif isinstance(node, L2Normalize):
            self._operator("L2_NORMALIZATION", node, sources, activation(False))

    def _operator(self, kind: str, node: Node, sources: list[int], options: tuple) -> None:
        self.writer.operator(kind, sources, self.index[node.name], self.dtype, options)

    def _weights(self, node: Conv | DepthwiseConv | Dense, name: str, axis: int) -> list[int]:
        """Tensor indices of weight and bias."""
        if self.quantized is None:
            weight, bias = node.weight, node.bias
            shape = (1, *weight.shape) if isinstance(node, DepthwiseConv) else weight.shape
            return [
                self.writer.tensor(f"{name}/weight", shape, "float32", data=weight),
                self.writer.tensor(f"{name}/bias", bias.shape, "float32", data=bias),
            ]
        found = self.quantized.weights[name]
        shape = (1, *found.weight.shape) if isinstance(node, DepthwiseConv) else found.weight.shape
        source = self.quantized.activations[node.input].scale
        bias_scale = np.float32(source) * found.scale
        return [
            self.writer.tensor(f"{name}/weight", shape, "int8", found.scale, axis=axis, data=found.weight),
            self.writer.tensor(f"{name}/bias", found.bias.shape, "int32", bias_scale, data=found.bias),
        ]
