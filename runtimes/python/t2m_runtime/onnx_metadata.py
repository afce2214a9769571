"""metadata_props of an .onnx file, read from the protobuf bytes: no onnx package, one pass over the top level."""

from __future__ import annotations

from t2m_runtime.errors import InputError
from t2m_runtime.onnx_wire import BYTES, fields

MAX_TOP_LEVEL_FIELDS = 10_000

# Field numbers of onnx.proto.
_MODEL_IR_VERSION = 1
_MODEL_GRAPH = 7
_MODEL_METADATA = 14
_ENTRY_KEY = 1
_ENTRY_VALUE = 2


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
    model = memoryview(data)
    for number, kind, _, start, end in fields(model, MAX_TOP_LEVEL_FIELDS):
        graphs += number == _MODEL_GRAPH
        if number != _MODEL_METADATA or kind != BYTES:
            continue
        entry = {_ENTRY_KEY: b"", _ENTRY_VALUE: b""}
        message = model[start:end]
        for part, part_kind, _, part_start, part_end in fields(message, MAX_TOP_LEVEL_FIELDS):
            if part in entry and part_kind == BYTES:
                entry[part] = message[part_start:part_end]
        if entry[_ENTRY_KEY] != key.encode("utf-8"):
            continue
        if found is not None:
            raise InputError(f"the ONNX model has the property {key} twice; make the model again")
        found = entry[_ENTRY_VALUE]
    if graphs != 1:
        raise InputError("the ONNX model is broken or cut short (it has no graph); make it again")
    if found is None:
        return None
    if len(found) > most:
        raise InputError(f"the ONNX model's property {key} has {len(found)} bytes; expected at most {most}")
    return bytes(found)
