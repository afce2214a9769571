"""Reads the tables of a ``.tflite`` file: the FlatBuffers wire format and as much of the public schema as we need.

Offsets come from outside: each is checked against the file before it is followed, and nothing is copied.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from typing import Iterator

import numpy as np

from t2m_runtime.errors import InputError

FILE_IDENTIFIER = b"TFL3"
TENSOR_TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
TYPE_NAMES = {code: name for name, code in TENSOR_TYPES.items()}
MAX_TABLES = 100_000
"""Most tensors, operators or buffers that a model may list."""

_U32, _OFFSET = struct.Struct("<I"), struct.Struct("<i")
_FORMATS = {"<i4": "i", "<f4": "f", "<i8": "q"}
_FEW = 64
"""Up to so many numbers struct is faster than numpy."""

_DAMAGED = "the model is damaged or cut short; make it again"


@dataclass(frozen=True)
class Tables:
    """Where the tables of a one-subgraph model lie, as byte positions in its flatbuffer.

    Args:
        codes: OperatorCode tables; operator_codes: their (builtin code, version).
        outputs_at, operators_at: where the vectors of the subgraph's outputs and operators begin (their length).
        inputs, outputs: indices into tensors.
    """

    codes: tuple[int, ...]
    operator_codes: tuple[tuple[int, int], ...]
    tensors: tuple[int, ...]
    operators: tuple[int, ...]
    buffers: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    outputs_at: int
    operators_at: int


@dataclass(frozen=True)
class Tensor:
    """Facts of a tensor.

    Args:
        dtype: numpy's name of the type, "?" where it is none of TENSOR_TYPES.
        scales: one, one a channel, or none; zero_points likewise.
        buffer: index of its Buffer; 0 where it is no constant.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    buffer: int = 0

    @property
    def scale(self) -> float:
        """The scale of the whole tensor; 0 where there is none, or one a channel."""
        return self.scales[0] if len(self.scales) == 1 else 0.0

    @property
    def zero_point(self) -> int:
        """The zero point of the whole tensor."""
        return self.zero_points[0] if len(self.zero_points) == 1 else 0


def read_tables(model: bytes) -> Tables:
    """Positions of the tables of a one-subgraph model.

    Raises:
        InputError: the bytes are no such flatbuffer.
    """
    with _damage():
        if model[4:8] != FILE_IDENTIFIER:
            raise InputError("the model is not a TFLite model (no TFL3 at byte 4)")
        root = u32(model, 0)
        subgraphs = tables_of(model, root, 2)
        if not subgraphs:
            raise InputError("the model is broken (a part of it is missing); make it again")
        if len(subgraphs) != 1:
            raise InputError(f"the model has {len(subgraphs)} subgraphs; expected one")
        codes = tables_of(model, root, 1)
        subgraph = subgraphs[0]
        return Tables(
            codes=codes,
            operator_codes=tuple((_builtin(model, c), scalar(model, c, 2, "<i", 1)) for c in codes),
            tensors=tables_of(model, subgraph, 0),
            operators=tables_of(model, subgraph, 3),
            buffers=tables_of(model, root, 4),
            inputs=numbers(model, subgraph, 1, "<i4"),
            outputs=numbers(model, subgraph, 2, "<i4"),
            outputs_at=vector(model, subgraph, 2)[0],
            operators_at=vector(model, subgraph, 3)[0],
        )


def is_whole(model: bytes) -> bool:
    """Whether tables and constants of a .tflite, of any number of subgraphs, lie inside the file: a part of a download
    or a copy does not hold all of them."""
    try:
        root = u32(model, 0)
        tables_of(model, root, 1)
        for subgraph in tables_of(model, root, 2):
            for position in tables_of(model, subgraph, 0):
                read_tensor(model, position)
            for position in tables_of(model, subgraph, 3):
                read_operator(model, position)
        constants = [vector(model, buffer, 0) for buffer in tables_of(model, root, 4)]
    except (InputError, struct.error, IndexError, ValueError, OverflowError):
        return False
    return bool(constants) and all(start + size <= len(model) for start, size in constants)


def check_model(model: bytes) -> Tables:
    """The tables of a model whose tensors, operators and constants all refer to what is inside the file.

    Engines follow such references without looking: a damaged one would end the process.

    Raises:
        InputError: they do not.
    """
    tables = read_tables(model)
    tensors = len(tables.tensors)
    if not tables.codes or not tensors or not tables.operators or not tables.buffers:
        raise InputError("the model is broken (a part of it is missing); make it again")
    for position in tables.tensors:
        tensor = read_tensor(model, position)
        if tensor.buffer >= len(tables.buffers):
            raise InputError(f"the model's tensor {tensor.name[:40]!r} has no buffer; make it again")
    for position in tables.operators:
        code, inputs, outputs = read_operator(model, position)
        if code >= len(tables.codes) or any(not -1 <= i < tensors for i in (*inputs, *outputs)):
            raise InputError("the model has an operator without a code or a tensor; make it again")
    for position in tables.buffers:
        with _damage():
            start, size = vector(model, position, 0)
        if start + size > len(model):
            raise InputError("the model has a constant that ends outside the file; make it again")
    if any(not 0 <= i < tensors for i in (*tables.inputs, *tables.outputs)):
        raise InputError("the model's inputs or outputs are no tensors of it; make it again")
    return tables


def read_tensor(model: bytes, position: int) -> Tensor:
    """Facts of the Tensor table at a position that read_tables gave."""
    with _damage():
        shape, kind, buffer, name, quantization = fields(model, position, 5)
        scales: tuple = ()
        zeros: tuple = ()
        if quantization:
            _, _, scale_at, zero_at = fields(model, quantization + u32(model, quantization), 4)
            scales, zeros = _values(model, scale_at, "<f4"), _values(model, zero_at, "<i8")
        start = name + u32(model, name) if name else 0
        size = u32(model, start) if name else 0
        return Tensor(
            name=bytes(model[start + 4 : start + 4 + size]).decode(),
            shape=_values(model, shape, "<i4"),
            dtype=TYPE_NAMES.get(model[kind] if kind else 0, "?"),
            scales=scales,
            zero_points=zeros,
            buffer=u32(model, buffer) if buffer else 0,
        )


def read_operator(model: bytes, position: int) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """(index into codes, input tensors, output tensors) of an Operator table."""
    with _damage():
        code, inputs, outputs = fields(model, position, 3)
        return (
            u32(model, code) if code else 0,
            _values(model, inputs, "<i4"),
            _values(model, outputs, "<i4"),
        )


def read_constant(model: bytes, tables: Tables, tensor: Tensor) -> np.ndarray:
    """The values of a constant tensor, a read-only view in its own type and shape.

    Raises:
        InputError: it has no values, or not as many as its shape says.
    """
    with _damage():
        if tensor.dtype not in TENSOR_TYPES or not 0 < tensor.buffer < len(tables.buffers):
            raise ValueError("not a constant")
        start, size = vector(model, tables.buffers[tensor.buffer], 0)
        dtype = np.dtype(tensor.dtype).newbyteorder("<")
        values = np.frombuffer(model, np.uint8, size, start + 4).view(dtype)
        return values.reshape(tensor.shape)


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """Turns what reading outside the file raises into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise InputError(_DAMAGED) from error


def u32(data: bytes, position: int) -> int:
    """The number at a position."""
    return _U32.unpack_from(data, position)[0]


def fields(data: bytes, table: int, count: int) -> tuple[int, ...]:
    """Positions of a table's first fields, 0 for one that is absent."""
    vtable = table - _OFFSET.unpack_from(data, table)[0]
    if vtable < 0:
        raise ValueError("vtable before the file")
    held = min(count, (struct.unpack_from("<H", data, vtable)[0] - 4) // 2)
    offsets = struct.unpack_from(f"<{held}H", data, vtable + 4) if held > 0 else ()
    return tuple([table + offset if offset else 0 for offset in offsets]) + (0,) * (count - max(held, 0))


def _values(data: bytes, position: int, dtype: str) -> tuple:
    """The numbers of the vector that the field at a position refers to; none where it is absent."""
    if not position:
        return ()
    start = position + u32(data, position)
    count = u32(data, start)
    if count > _FEW:
        return tuple(np.frombuffer(data, dtype, count, start + 4).tolist())
    return struct.unpack_from(f"<{count}{_FORMATS[dtype]}", data, start + 4)


def field(data: bytes, table: int, slot: int) -> int:
    """Position of a table's field, 0 where it is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise ValueError("vtable before the file")
    size = struct.unpack_from("<H", data, vtable)[0]
    entry = 4 + 2 * slot
    if entry + 2 > size:
        return 0
    offset = struct.unpack_from("<H", data, vtable + entry)[0]
    return table + offset if offset else 0


def scalar(data: bytes, table: int, slot: int, form: str, default: int) -> int:
    """A number of a table."""
    position = field(data, table, slot)
    return struct.unpack_from(form, data, position)[0] if position else default


def vector(data: bytes, table: int, slot: int) -> tuple[int, int]:
    """(where a vector's length lies, the length) of a table; (0, 0) where it is absent."""
    position = field(data, table, slot)
    if not position:
        return 0, 0
    start = position + u32(data, position)
    return start, u32(data, start)


def numbers(data: bytes, table: int, slot: int, dtype: str) -> tuple:
    """A vector of numbers."""
    return _values(data, field(data, table, slot), dtype)


def tables_of(data: bytes, table: int, slot: int) -> tuple[int, ...]:
    """Positions of a vector of tables."""
    start, count = vector(data, table, slot)
    if not count:
        return ()
    if count > MAX_TABLES:
        raise ValueError("too many tables")
    places = np.frombuffer(data, "<u4", count, start + 4).astype(np.int64)
    places += start + 4 + 4 * np.arange(count)
    if places.max() + 4 > len(data):
        raise ValueError("table after the file")
    return tuple(places.tolist())


def _builtin(data: bytes, code: int) -> int:
    # Old files have the code in a byte, in the field that was there first.
    return max(scalar(data, code, 3, "<i", 0), scalar(data, code, 0, "<b", 0))
