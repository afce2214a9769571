"""fp16 and int8-dynamic forms of a float32 ``.tflite``: only its weights change."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.tflite_tables import OPERATORS
from t2m_exporters.tflite_tree import read_tree, write_tree
from t2m_exporters.weights import SMALLEST_INT8, half, symmetric_int8
from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import TENSOR_TYPES

_FLOAT = TENSOR_TYPES["float32"]
# Operators with float kernels for int8 weights -> axis of the weights' scales (None: one scale).
_DYNAMIC = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": None}


def derive_tflite(model: bytes, precision: str) -> bytes:
    """A float32 model with smaller weights.

    "fp16": every float constant of two numbers or more is float16 with a DEQUANTIZE before its readers; engines undo it
    once, when they load.
    "int8-dynamic": the weights of CONV_2D, DEPTHWISE_CONV_2D (one scale a channel) and FULLY_CONNECTED (one scale) are
    int8 where they have at least SMALLEST_INT8 values; the engine quantises activations as it runs.

    Raises:
        InputError: no float32 TFLite model, or an unknown precision.
    """
    if precision not in ("fp16", "int8-dynamic"):
        raise InputError(f"precision {precision!r} cannot be derived; write fp16 or int8-dynamic")
    tree = read_tree(model)
    with damage():
        if precision == "fp16":
            _halve(tree)
        else:
            _quantise(tree)
        return write_tree(tree, f"t2m-edge backbone, {precision}")


def _halve(tree: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    front = []
    for index in range(len(graph.tensors)):
        tensor = graph.tensors[index]
        values = _constant(tree, tensor)
        # One number is no weight: pad values must stay constants.
        if values is None or values.size < 2:
            continue
        stored = schema.TensorT()
        stored.name = bytes(tensor.name) + b"/float16"
        stored.shape, stored.type, stored.buffer = tensor.shape, TENSOR_TYPES["float16"], len(tree.buffers)
        buffer = schema.BufferT()
        buffer.data = half(values).reshape(-1).view(np.uint8)
        tree.buffers.append(buffer)
        tensor.buffer = 0
        graph.tensors.append(stored)
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = [len(graph.tensors) - 1], [index]
        operator.opcodeIndex = _code(tree, "DEQUANTIZE", "float16")
        operator.builtinOptionsType = OPERATORS["DEQUANTIZE"].options_type
        operator.builtinOptions = schema.DequantizeOptionsT()
        front.append(operator)
    graph.operators = front + list(graph.operators)


def _quantise(tree: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    codes = {OPERATORS[kind].code: kind for kind in _DYNAMIC}
    for operator in graph.operators:
        code = tree.operatorCodes[operator.opcodeIndex]
        kind = codes.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        if kind is None or len(operator.inputs) < 2:
            continue
        tensor = graph.tensors[operator.inputs[1]]
        readers = sum(operator.inputs[1] in other.inputs for other in graph.operators)
        values = _constant(tree, tensor)
        if values is None or values.size < SMALLEST_INT8 or readers > 1:
            continue
        stored, scale = symmetric_int8(values, _DYNAMIC[kind])
        buffer = schema.BufferT()
        buffer.data = stored.view(np.uint8).reshape(-1)
        tensor.type, tensor.buffer = TENSOR_TYPES["int8"], len(tree.buffers)
        tree.buffers.append(buffer)
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = scale, np.zeros(len(scale), np.int64)
        tensor.quantization.quantizedDimension = _DYNAMIC[kind] or 0
        operator.opcodeIndex = _code(tree, kind, "dynamic")
        if kind == "FULLY_CONNECTED":
            operator.builtinOptions.asymmetricQuantizeInputs = True


def _constant(tree: Any, tensor: Any) -> np.ndarray | None:
    """The values of a float32 constant, or None."""
    data = tree.buffers[tensor.buffer].data
    if tensor.type != _FLOAT or data is None or not len(data):
        return None
    return np.asarray(data, np.uint8).view("<f4").reshape(tensor.shape)


def _code(tree: Any, kind: str, form: str) -> int:
    """Index of an operator's code, added where it is not there."""
    from ai_edge_litert import schema_py_generated as schema

    number, version = OPERATORS[kind].code, OPERATORS[kind].versions[form]
    for index, code in enumerate(tree.operatorCodes):
        if (code.builtinCode, code.version) == (number, version):
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = version
    tree.operatorCodes.append(code)
    return len(tree.operatorCodes) - 1
