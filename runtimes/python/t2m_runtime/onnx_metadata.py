"""metadata_props of an .onnx file, read from the protobuf bytes: no onnx package, one pass over the top level."""

from __future__ import annotations

from typing import Iterator

from t2m_runtime.errors import InputError

MAX_TOP_LEVEL_FIELDS = 10_000

# Field numbers of onnx.proto.
_MODEL_IR_VERSION = 1
_MODEL_GRAPH = 7
_MODEL_METADATA = 14
_ENTRY_KEY = 1
_ENTRY_VALUE = 2

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def is_onnx(data: bytes) -> bool:
    """Whether the bytes begin like an ONNX model: ir_version, the first field that every writer writes."""
    return len(data) > 2 and data[0] == _MODEL_IR_VERSION << 3 and data[1] < 64


def read_metadata(data: bytes, key: str, most: int) -> bytes | None:
    """The value of one metadata property.

    Args:
        data: the whole file.
        key: of the property.
        most: largest value to accept, in bytes.

    Returns:
        The value's bytes, or None where there is no such property.

    Raises:
        InputError: broken protobuf, no graph, the key twice, or a value larger than ``most``.
    """
    found = None
    graphs = 0
    for number, kind, start, end in _fields(data, 0, len(data)):
        graphs += number == _MODEL_GRAPH
        if number != _MODEL_METADATA or kind != _BYTES:
            continue
        entry = {_ENTRY_KEY: (start, start), _ENTRY_VALUE: (start, start)}
        for part, part_kind, part_start, part_end in _fields(data, start, end):
            if part in entry and part_kind == _BYTES:
                entry[part] = (part_start, part_end)
        key_start, key_end = entry[_ENTRY_KEY]
        if data[key_start:key_end] != key.encode("utf-8"):
            continue
        if found is not None:
            raise InputError(f"the ONNX model has the property {key} twice; make the model again")
        found = entry[_ENTRY_VALUE]
    if graphs != 1:
        raise _broken("it has no graph")
    if found is None:
        return None
    if found[1] - found[0] > most:
        raise InputError(f"the ONNX model's property {key} has {found[1] - found[0]} bytes; expected at most {most}")
    return bytes(data[found[0] : found[1]])


def _fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, start, end of the payload) of one message, in order."""
    for _ in range(MAX_TOP_LEVEL_FIELDS):
        if position == end:
            return
        tag, position = _varint(data, position, end)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            start = position
            _, position = _varint(data, position, end)
        elif kind == _BYTES:
            size, start = _varint(data, position, end)
            position = start + size
        elif kind in (_FIXED64, _FIXED32):
            start = position
            position += 8 if kind == _FIXED64 else 4
        else:
            raise _broken(f"wire type {kind} at byte {position}")
        if number == 0 or position > end:
            raise _broken(f"a field at byte {start} does not fit")
        yield number, kind, start, position
    raise InputError(f"the ONNX model has more than {MAX_TOP_LEVEL_FIELDS} fields at one level; make the model again")


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """(value, position after it)."""
    value = 0
    for index in range(10):
        if position + index >= end:
            break
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise _broken(f"a number at byte {position} does not end")


def _broken(reason: str) -> InputError:
    return InputError(f"the ONNX model is broken or cut short ({reason}); make the model again")
