"""fp16 and int8-dynamic forms of a float32 ``.onnx``: only its weights change."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.weights import SMALLEST_INT8, half, symmetric_int8
from t2m_runtime.errors import InputError

DYNAMIC_OPSET, DYNAMIC_IR = 11, 6
"""Opset 11 is the first with DynamicQuantizeLinear."""


def derive_onnx(model: bytes, precision: str) -> bytes:
    """A float32 model with smaller weights.

    "fp16": every float constant is float16 with a Cast before its readers; ONNX Runtime undoes it once, when it loads.
    "int8-dynamic": Conv and Gemm (transB, one row) with constant weights of at least SMALLEST_INT8 values become
    DynamicQuantizeLinear, ConvInteger or MatMulInteger, and a product with one scale a channel. Weights are uint8, the
    int8 numbers plus 128, for the reason that onnx.py gives.

    Raises:
        InputError: no ONNX model, or an unknown precision.
    """
    import onnx

    if precision not in ("fp16", "int8-dynamic"):
        raise InputError(f"precision {precision!r} cannot be derived; write fp16 or int8-dynamic")
    with damage():
        tree = onnx.load_from_string(model)
    if not tree.graph.node:
        raise InputError("the ONNX model has no graph; make it again")
    with damage():
        if precision == "fp16":
            _halve(tree.graph)
        else:
            _quantise(tree.graph)
            tree.ir_version = max(tree.ir_version, DYNAMIC_IR)
            for entry in tree.opset_import:
                if not entry.domain:
                    entry.version = max(entry.version, DYNAMIC_OPSET)
        return tree.SerializeToString(deterministic=True)


def _halve(graph: Any) -> None:
    from onnx import TensorProto, helper, numpy_helper

    constants, casts = [], []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            constants.append(tensor)
            continue
        constants.append(numpy_helper.from_array(half(numpy_helper.to_array(tensor)), f"{tensor.name}/float16"))
        cast = helper.make_node("Cast", [f"{tensor.name}/float16"], [tensor.name], tensor.name, to=TensorProto.FLOAT)
        casts.append(cast)
    nodes = list(graph.node)
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(constants)
    graph.node.extend([*casts, *nodes])


def _quantise(graph: Any) -> None:
    from onnx import TensorProto, helper, numpy_helper

    weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    readers = [name for node in graph.node for name in node.input]
    nodes, added, activations = [], [], set()

    def constant(name: str, value: np.ndarray) -> str:
        added.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, list(outputs), outputs[0], **attributes))
        return outputs[0]

    for old in graph.node:
        weight = weights.get(old.input[1]) if old.op_type in ("Conv", "Gemm") else None
        options = {a.name: helper.get_attribute_value(a) for a in old.attribute}
        plain = old.op_type == "Conv" or {k: v for k, v in options.items() if k not in ("alpha", "beta")} == {
            "transB": 1
        }
        bias = old.input[2] if len(old.input) > 2 else ""
        movable = not bias or bias in weights or old.op_type == "Gemm"
        small = weight is None or np.prod(weight.dims) < SMALLEST_INT8
        if small or not plain or not movable or readers.count(weight.name) > 1:
            nodes.append(old)
            continue
        x, result = old.input[0], old.output[0]
        parts = [f"{x}/quantized", f"{x}/scale", f"{x}/zero_point"]
        if x not in activations:
            activations.add(x)
            node("DynamicQuantizeLinear", [x], *parts)
        values, scale = symmetric_int8(numpy_helper.to_array(weight), 0)
        convolution = old.op_type == "Conv"
        shape = (1, -1, 1, 1) if convolution else (1, -1)
        whole = values.view(np.uint8) ^ np.uint8(128)
        names = [
            constant(f"{weight.name}/quantized", whole if convolution else whole.T),
            constant(f"{weight.name}/zero_point", np.array(128, np.uint8)),
        ]
        product = node(
            "ConvInteger" if convolution else "MatMulInteger",
            [parts[0], names[0], parts[2], names[1]],
            f"{result}/int32",
            **(options if convolution else {}),
        )
        real = node("Cast", [product], f"{result}/float", to=TensorProto.FLOAT)
        step = node("Mul", [parts[1], constant(f"{weight.name}/scale", scale.reshape(shape))], f"{result}/step")
        if not bias:
            node("Mul", [real, step], result)
            continue
        if convolution and bias in weights:
            bias = constant(f"{result}/column", numpy_helper.to_array(weights[bias]).reshape(shape))
        node("Add", [node("Mul", [real, step], f"{result}/scaled"), bias], result)
    read = {name for node in nodes for name in node.input}
    kept = [t for t in graph.initializer if t.name in read]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend([*kept, *added])
    graph.node.extend(nodes)
