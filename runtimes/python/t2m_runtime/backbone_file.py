"""The backbone inside a full model: the same file, cut behind the features.

A full model's head has tensors named ``head/...`` and the output ``scores``; what it reads is named ``features``.
"""

from __future__ import annotations

import struct

import numpy as np

from t2m_runtime import onnx_wire as wire
from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import Tensor, read_operator, read_tables, read_tensor

FEATURES = "features"
SCORES = "scores"
HEAD = "head/"


def is_head_tensor(name: str) -> bool:
    """Whether a tensor belongs to the head, by its name."""
    return name == SCORES or name.startswith(HEAD)


def without_head(model: bytes, kind: str) -> tuple[bytes, Tensor]:
    """A full model that gives its features and runs nothing behind them.

    Args:
        model: an artifact's bytes.
        kind: "tflite" or "onnx".

    Returns:
        The model's bytes, and its output: float32 or int8 (1, d), with scale and zero point where it is int8.

    Raises:
        InputError: damaged, or without features and a head.
    """
    return _cut_tflite(model) if kind == "tflite" else _cut_onnx(model)


def _cut_tflite(model: bytes) -> tuple[bytes, Tensor]:
    tables = read_tables(model)
    tensors = [read_tensor(model, position) for position in tables.tensors]
    index = next((i for i, tensor in enumerate(tensors) if tensor.name == FEATURES), -1)
    kept = 0
    for position in tables.operators:
        results = read_operator(model, position)[2]
        if any(not 0 <= i < len(tensors) for i in results):
            raise _no_features()
        if any(is_head_tensor(tensors[i].name) for i in results):
            break
        kept += 1
    if index < 0 or not kept or len(tables.outputs) != 1:
        raise _no_features()
    # The head's operators come last: a shorter list of operators and another output are two numbers.
    cut = bytearray(model)
    struct.pack_into("<I", cut, tables.operators_at, kept)
    struct.pack_into("<i", cut, tables.outputs_at + 4, index)
    return bytes(cut), _checked(tensors[index])


def _cut_onnx(model: bytes) -> tuple[bytes, Tensor]:
    whole = memoryview(model)
    graphs = [(start, value, end) for number, _, start, value, end in wire.fields(whole) if number == 7]
    if len(graphs) != 1:
        raise _no_features()
    start, value, end = graphs[0]
    graph = whole[value:end]
    kept, width, zero_point, scale = [], 0, None, b""
    for number, kind, begin, at, stop in wire.fields(graph):
        message = graph[at:stop]
        if number == 12:
            continue
        if kind == wire.BYTES and number == 1:
            results = wire.blocks(message, 2)
            if results and is_head_tensor(wire.text(results[0])):
                continue
        if kind == wire.BYTES and number == 5:
            names = wire.blocks(message, 8)
            name = wire.text(names[0]) if names else ""
            if name == f"{FEATURES}/scale":
                scale = b"".join(wire.blocks(message, 9))
            if name == f"{FEATURES}/zero_point":
                zero_point = b"".join(wire.blocks(message, 9))
            if is_head_tensor(name):
                width = width or _width(name, message)
                continue
        kept.append(graph[begin:stop])
    if not width or (zero_point is not None and (len(zero_point) != 1 or len(scale) != 4)):
        raise _no_features()
    if zero_point is None:
        features = Tensor(FEATURES, (1, width), "float32")
    else:
        zero = int(np.frombuffer(zero_point, np.int8)[0])
        features = Tensor(FEATURES, (1, width), "int8", (struct.unpack("<f", scale)[0],), (zero,))
    kept.append(wire.block(12, wire.value_info(FEATURES, features.dtype, features.shape)))
    length = sum(len(part) for part in kept)
    return b"".join([whole[:start], wire.header(7, length), *kept, whole[end:]]), _checked(features)


_FIRST = tuple(f"{HEAD}{layer}/weight" for layer in ("hidden", "last"))


def _width(name: str, tensor: memoryview) -> int:
    """Inputs of the head's first layer from its weight, (out, in), or (in, out) where its name says columns."""
    if not name.startswith(_FIRST):
        return 0
    dims = [wire.read_varint(tensor, at) for number, kind, _, at, _ in wire.fields(tensor) if (number, kind) == (1, 0)]
    return dims[0 if name.endswith("/weight_columns") else 1] if len(dims) == 2 else 0


def _checked(features: Tensor) -> Tensor:
    quantised = len(features.scales) == 1 and features.scale > 0
    if features.dtype not in ("float32", "int8") or len(features.shape) != 2 or (features.dtype == "int8") != quantised:
        raise _no_features()
    return features


def _no_features() -> InputError:
    return InputError("the model is no full model of t2m-edge (backbone, features, head); compile one")
