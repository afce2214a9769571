"""A ``.tflite`` embedding model from elsewhere as a backbone: its graph is used as it is, its ends are made ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.graph import MAX_SIDE
from t2m_exporters.tensor_names import FEATURES, HEAD, INPUT, SCORES
from t2m_exporters.tflite_tables import OPERATORS
from t2m_exporters.tflite_tree import read_tree, write_tree
from t2m_runtime.errors import InputError
from t2m_runtime.head import MAX_FEATURES
from t2m_runtime.tflite_file import TENSOR_TYPES, TYPE_NAMES

_RESHAPE = (22, 17, 1)
"""BuiltinOperator code, BuiltinOptions type and version of RESHAPE."""


def adopt_tflite(model: bytes) -> bytes:
    """A backbone from any TFLite model of one image and one embedding.

    Input: (1, H, W, 3), uint8 as it is; int8 gets a QUANTIZE in front; float32 a DEQUANTIZE of scale 1, so the model
    must take pixels from 0 to 255. Output: one vector; a RESHAPE makes it (1, d) where it is not, a QUANTIZE makes
    int8 of uint8. Tensors get the names "image" and "features".

    Args:
        model: the file's bytes; constants outside the flatbuffer are taken in.

    Returns:
        The file, as write_backbone_tflite would have written it: float32 features, or int8 with scale and zero point.

    Raises:
        InputError: damaged, or of other ends.
    """
    tree = read_tree(model)
    graph = tree.subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise InputError(
            f"the model has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; expected one each"
        )
    with damage():
        _rename(graph)
        _front(tree)
        _back(tree)
        return write_tree(tree, "t2m-edge backbone, from a model of elsewhere")


def ends(model: bytes) -> tuple[tuple[int, int], int, str, float, int]:
    """(height, width), length of the features, their type, scale and zero point, of what adopt_tflite wrote."""
    graph = read_tree(model).subgraphs[0]
    image, features = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    scale, zero_point = _quantization(features) or (1.0, 0)
    size = (int(image.shape[1]), int(image.shape[2]))
    return size, int(features.shape[1]), TYPE_NAMES[features.type], scale, zero_point


def _rename(graph: Any) -> None:
    """Names that ours would collide with, and those of a head, get a prefix."""
    for tensor in graph.tensors:
        name = (tensor.name or b"").decode(errors="replace")
        if name in (INPUT, FEATURES, SCORES) or name.startswith(HEAD):
            tensor.name = f"model/{name}".encode()


def _front(tree: Any) -> None:
    graph = tree.subgraphs[0]
    old = int(graph.inputs[0])
    tensor = graph.tensors[old]
    shape, dtype = tuple(int(n) for n in tensor.shape), TYPE_NAMES.get(tensor.type, "?")
    sides = shape[1:3]
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or not all(8 <= n <= MAX_SIDE for n in sides):
        raise InputError(f"the model's input has shape {shape}; expected (1, height, width, 3)")
    if dtype == "uint8":
        tensor.name = INPUT.encode()
        return
    if dtype not in ("int8", "float32"):
        raise InputError(f"the model's input is {dtype}; expected uint8, int8 or float32")
    found = _quantization(tensor) if dtype == "int8" else (1.0, -128)
    if found is None:
        raise InputError("the model's int8 input has no scale; it cannot be fed pixels")
    image = _tensor(tree, INPUT, shape, "uint8", found[0], found[1] + 128)
    _operator(tree, "QUANTIZE" if dtype == "int8" else "DEQUANTIZE", "uint8", [image], old, first=True)
    graph.inputs = [image]


def _back(tree: Any) -> None:
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    last = int(graph.outputs[0])
    tensor = graph.tensors[last]
    shape, dtype = tuple(int(n) for n in tensor.shape), TYPE_NAMES.get(tensor.type, "?")
    d = int(np.prod(shape)) if shape and min(shape) > 0 else 0
    if not shape or max(shape) != d or not 2 <= d <= MAX_FEATURES:
        raise InputError(f"the model's output has shape {shape}; expected one vector of 2 to {MAX_FEATURES} numbers")
    quantization = _quantization(tensor)
    if dtype not in ("float32", "uint8", "int8") or (dtype != "float32") != (quantization is not None):
        raise InputError(f"the model's output is {dtype}; expected float32, or uint8 or int8 with one scale")
    scale, zero_point = quantization or (None, 0)
    if shape != (1, d):
        target = _tensor(tree, f"{FEATURES}/flat", (1, d), dtype, scale, zero_point)
        sizes = _tensor(tree, f"{FEATURES}/shape", (2,), "int32", None, 0, np.array([1, d], "<i4"))
        code, options, version = _RESHAPE
        operator = schema.OperatorT()
        operator.inputs, operator.outputs = [last, sizes], [target]
        operator.opcodeIndex = _code(tree, code, version)
        operator.builtinOptionsType, operator.builtinOptions = options, schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = [1, d]
        graph.operators.append(operator)
        last = target
    if dtype == "uint8":
        target = _tensor(tree, FEATURES, (1, d), "int8", scale, zero_point - 128)
        _operator(tree, "QUANTIZE", "uint8", [last], target)
        last = target
    graph.tensors[last].name = FEATURES.encode()
    graph.outputs = [last]


def _quantization(tensor: Any) -> tuple[float, int] | None:
    """Scale and zero point of a whole tensor, or None."""
    found = tensor.quantization
    if found is None or found.scale is None or len(found.scale) != 1 or not found.scale[0] > 0:
        return None
    zero_points = found.zeroPoint if found.zeroPoint is not None and len(found.zeroPoint) else [0]
    return float(found.scale[0]), int(zero_points[0])


def _tensor(
    tree: Any,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    scale: float | None,
    zero_point: int,
    data: np.ndarray | None = None,
) -> int:
    """Index of a new tensor."""
    from ai_edge_litert import schema_py_generated as schema

    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), list(shape), TENSOR_TYPES[dtype], 0
    if scale is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array([scale], np.float32)
        tensor.quantization.zeroPoint = np.array([zero_point], np.int64)
    if data is not None:
        buffer = schema.BufferT()
        buffer.data = data.view(np.uint8)
        tensor.buffer = len(tree.buffers)
        tree.buffers.append(buffer)
    tree.subgraphs[0].tensors.append(tensor)
    return len(tree.subgraphs[0].tensors) - 1


def _operator(tree: Any, kind: str, form: str, inputs: list[int], output: int, first: bool = False) -> None:
    from ai_edge_litert import schema_py_generated as schema

    facts = OPERATORS[kind]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = inputs, [output]
    operator.opcodeIndex = _code(tree, facts.code, facts.versions[form])
    operator.builtinOptionsType = facts.options_type
    operator.builtinOptions = schema.QuantizeOptionsT() if kind == "QUANTIZE" else schema.DequantizeOptionsT()
    operators = tree.subgraphs[0].operators
    operators.insert(0 if first else len(operators), operator)


def _code(tree: Any, code: int, version: int) -> int:
    from ai_edge_litert import schema_py_generated as schema

    for index, known in enumerate(tree.operatorCodes):
        if max(known.builtinCode, known.deprecatedBuiltinCode) == code and known.version == version:
            return index
    added = schema.OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = code
    added.version = version
    tree.operatorCodes.append(added)
    return len(tree.operatorCodes) - 1
