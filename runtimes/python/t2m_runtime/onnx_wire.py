"""Protocol-buffer wire format, as much of it as reading and changing ONNX files needs (protobuf.dev, "Encoding").

Importing ``onnx`` takes longer than a whole compile may, and a device does not have it: a ModelProto is changed by
copying its top-level fields. Field numbers are those of the public ``onnx.proto``.
"""

from __future__ import annotations

import struct
from typing import Iterator, Optional

import numpy as np

from t2m_runtime.errors import InputError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

FLOAT, UINT8, INT8, INT32, INT64, FLOAT16 = 1, 2, 3, 6, 7, 10
DATA_TYPES = {"float32": FLOAT, "uint8": UINT8, "int8": INT8, "int32": INT32, "float16": FLOAT16}
_NUMPY = {FLOAT: "<f4", UINT8: "u1", INT8: "i1", INT32: "<i4", INT64: "<i8", FLOAT16: "<f2"}
MAX_FIELDS = 100_000
"""Most fields of one message: nodes and constants of a graph."""


def fields(data: memoryview, most: int = MAX_FIELDS) -> Iterator[tuple[int, int, int, int, int]]:
    """(field number, wire type, start of the field, start of its value, end) of a message's own fields.

    Raises:
        InputError: the bytes are no message, or it has more than ``most`` fields.
    """
    position, size, count = 0, len(data), 0
    while position < size:
        count += 1
        if count > most:
            raise InputError(f"the ONNX model has more than {most} fields at one level; make the model again")
        start = position
        key, position = _read_varint(data, position)
        number, wire = key >> 3, key & 7
        value = position
        if wire == VARINT:
            _, position = _read_varint(data, position)
        elif wire == BYTES:
            length, value = _read_varint(data, position)
            position = value + length
        elif wire in (FIXED32, FIXED64):
            position += 4 if wire == FIXED32 else 8
        else:
            raise InputError(_DAMAGED)
        if position > size or number == 0:
            raise InputError(_DAMAGED)
        yield number, wire, start, value, position


def varint(number: int) -> bytes:
    """A non-negative integer, or a negative one as its 64-bit two's complement."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A varint field."""
    return varint(field << 3 | VARINT) + varint(value)


def block(field: int, content: bytes | str) -> bytes:
    """A length-delimited field: bytes, UTF-8 text or a message."""
    raw = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | BYTES) + varint(len(raw)) + raw


def header(field: int, length: int) -> bytes:
    """Key and length of a length-delimited field whose content follows."""
    return varint(field << 3 | BYTES) + varint(length)


def tensor(name: str, value: np.ndarray) -> bytes:
    """TensorProto with raw data: float32, float16, int8, uint8 or int32, any shape (a scalar has no dims)."""
    dims = b"".join(number(1, n) for n in value.shape)
    raw = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
    return dims + number(2, DATA_TYPES[value.dtype.name]) + block(8, name) + block(9, raw)


def node(kind: str, inputs: list[str], outputs: list[str], **attributes: int | float) -> bytes:
    """NodeProto named after its first output, with whole-number or real attributes."""
    out = b"".join(block(1, name) for name in inputs) + b"".join(block(2, name) for name in outputs)
    out += block(3, outputs[0]) + block(4, kind)
    for key in sorted(attributes):
        value = attributes[key]
        if isinstance(value, int):
            content = block(1, key) + number(3, value) + number(20, 2)
        else:
            content = block(1, key) + varint(2 << 3 | FIXED32) + struct.pack("<f", value) + number(20, 1)
        out += block(5, content)
    return out


def value_info(name: str, dtype: str, shape: tuple[int, ...]) -> bytes:
    """ValueInfoProto of a tensor with a fixed shape."""
    dims = b"".join(block(1, number(1, n)) for n in shape)
    return block(1, name) + block(2, block(1, number(1, DATA_TYPES[dtype]) + block(2, dims)))


def blocks(message: memoryview, field: int) -> list[memoryview]:
    """The contents of every length-delimited field with a number."""
    return [
        message[value:stop] for number, kind, _, value, stop in fields(message) if number == field and kind == BYTES
    ]


def text(data: memoryview | bytes) -> str:
    """UTF-8 content of a field."""
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise InputError(_DAMAGED) from error


def read_varint(data: memoryview, position: int) -> int:
    """The varint at a position."""
    return _read_varint(data, position)[0]


def constant(tensor: memoryview) -> tuple[str, Optional[np.ndarray]]:
    """Name and values of a TensorProto; None for values that are not raw data of a type in DATA_TYPES or int64.

    Raises:
        InputError: the data do not fill the shape.
    """
    dims, kind = [], 0
    for number, form, _, at, _ in fields(tensor):
        if form == VARINT and number == 1:
            dims.append(read_varint(tensor, at))
        if form == VARINT and number == 2:
            kind = read_varint(tensor, at)
    name, raw = text(b"".join(blocks(tensor, 8))), blocks(tensor, 9)
    if kind not in _NUMPY or len(raw) != 1:
        return name, None
    try:
        return name, np.frombuffer(raw[0], _NUMPY[kind]).reshape(dims)
    except (ValueError, OverflowError) as error:
        raise InputError(f"the ONNX model's constant {name[:60]!r} is damaged; make it again") from error


_DAMAGED = "the ONNX model is broken or cut short; make it again"


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    for _ in range(10):
        if position >= len(data):
            raise InputError(_DAMAGED)
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise InputError(_DAMAGED)
