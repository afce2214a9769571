"""Runs a hypernetwork's ONNX form with numpy: a few small matrix products, done before a session would have started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from t2m_runtime import InputError
from t2m_runtime import onnx_wire as wire

Values = dict[str, np.ndarray]


def numpy_form(model: bytes) -> Callable[[np.ndarray], Values] | None:
    """A function class vectors, float32 (k, inputs) -> the graph's outputs by name; None where numpy cannot run it.

    Raises:
        InputError: the bytes are no ONNX model.
    """
    graphs = wire.blocks(memoryview(model), 7)
    if len(graphs) != 1:
        raise InputError("the hypernetwork is no ONNX model with one graph; get the pack again")
    constants: Values = {}
    for tensor in wire.blocks(graphs[0], 5):
        name, value = wire.constant(tensor)
        if value is None or value.dtype not in (np.float32, np.int64):
            return None
        # Constants lie anywhere in the file, and BLAS would copy an unaligned one at every product.
        constants[name] = np.require(value, requirements="A")
    nodes = [_node(message) for message in wire.blocks(graphs[0], 1)]
    if any(kind not in _OPERATORS for kind, _, _, _ in nodes):
        return None
    outputs = [wire.text(b"".join(wire.blocks(message, 1))) for message in wire.blocks(graphs[0], 12)]

    def form(classes: np.ndarray) -> Values:
        values = {**constants, "classes": classes}
        for kind, inputs, output, attributes in nodes:
            values[output] = _OPERATORS[kind](attributes, *(values[name] for name in inputs))
        return {name: values[name] for name in outputs}

    return form


def _node(message: memoryview) -> tuple[str, list[str], str, dict[str, Any]]:
    """(operator, inputs, first output, attributes) of a NodeProto."""
    names = {field: [wire.text(part) for part in wire.blocks(message, field)] for field in (1, 2, 4)}
    attributes = {}
    for part in wire.blocks(message, 5):
        key = wire.text(b"".join(wire.blocks(part, 1)))
        whole = [wire.read_varint(part, at) for number, _, _, at, _ in wire.fields(part) if number in (3, 8)]
        attributes[key] = tuple(whole)
    return "".join(names[4]), names[1], "".join(names[2][:1]), attributes


def _gemm(attributes: dict[str, Any], x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return x @ (weight.T if attributes.get("transB") == (1,) else weight) + bias


def _lp_normalization(attributes: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=attributes["axis"][0], keepdims=True), np.float32(1e-12))


def _mean(_: dict[str, Any], *parts: np.ndarray) -> np.ndarray:
    return (sum(parts[1:], parts[0]) / np.float32(len(parts))).astype(np.float32)


# What onnx_form.py writes.
_OPERATORS: dict[str, Callable[..., np.ndarray]] = {
    "Add": lambda _, a, b: a + b,
    "Gemm": _gemm,
    "Identity": lambda _, x: x,
    "LpNormalization": _lp_normalization,
    "MatMul": lambda _, a, b: a @ b,
    "Mean": _mean,
    "Mul": lambda _, a, b: a * b,
    "ReduceMean": lambda at, x: x.mean(at["axes"], keepdims=at.get("keepdims") != (0,), dtype=np.float32),
    "ReduceSum": lambda at, x, axes: x.sum(tuple(axes), keepdims=at.get("keepdims") != (0,), dtype=np.float32),
    "Relu": lambda _, x: np.maximum(x, np.float32(0)),
    "Reshape": lambda _, x, shape: x.reshape(shape),
    "Squeeze": lambda _, x, axes: x.squeeze(tuple(axes)),
}
