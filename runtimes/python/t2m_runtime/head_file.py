"""Head files (.t2mh): safetensors with the manifest as metadata.

The format in ten lines:

    8 bytes     N, the length of the header, little endian
    N bytes     JSON {"__metadata__": {str: str}, name: {"dtype", "shape", "data_offsets": [begin, end]}}
    the rest    the tensors, row by row, little endian, without gaps

    layer0.weight   I8 or F32 (out, in)       layer1.* likewise where the head has a hidden layer
    layer0.scale    F32 (out,)                int8 heads only
    layer0.bias     I32 (int8 heads) or F32 (out,)
    metadata        t2m_manifest; int8 heads: input_scale, input_zero_point, layerN.output_scale and _zero_point

Any safetensors reader opens it; the labels are those of the manifest.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from t2m_runtime.errors import InputError
from t2m_runtime.head import MAX_FEATURES, Head, Layer, QuantizedHead, QuantizedLayer
from t2m_runtime.json_fields import MAX_MANIFEST_BYTES
from t2m_runtime.manifest import Manifest

MANIFEST_KEY = "t2m_manifest"
MAX_HEADER_BYTES = 2 * MAX_MANIFEST_BYTES + 65_536
"""The manifest as a JSON string, with its quotes escaped, and a few tensors."""

_DTYPES = {"I8": np.dtype("<i1"), "I32": np.dtype("<i4"), "F32": np.dtype("<f4")}


def is_head_file(data: bytes) -> bool:
    """Whether the bytes begin like a safetensors file: a header length that fits, then JSON."""
    return len(data) > 8 and data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= len(data) - 8


def write_head_file(head: Head | QuantizedHead, manifest: Manifest) -> bytes:
    """The bytes of a head file; the same head and manifest give the same bytes.

    Raises:
        InputError: the manifest has other labels than the head.
    """
    if head.labels != manifest.labels:
        raise InputError("the head and the manifest have different labels; give the manifest of this head")
    metadata = {MANIFEST_KEY: manifest.to_json()}
    tensors: dict[str, np.ndarray] = {}
    if isinstance(head, QuantizedHead):
        metadata["input_scale"] = _decimal(head.input_scale)
        metadata["input_zero_point"] = str(int(head.input_zero_point))
    for index, layer in enumerate(head.layers):
        tensors[f"layer{index}.weight"] = layer.weight
        if isinstance(layer, QuantizedLayer):
            tensors[f"layer{index}.scale"] = layer.weight_scale
            metadata[f"layer{index}.output_scale"] = _decimal(layer.output_scale)
            metadata[f"layer{index}.output_zero_point"] = str(int(layer.output_zero_point))
        tensors[f"layer{index}.bias"] = layer.bias
    # Widest items first: each tensor then starts at a multiple of its item size.
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {"__metadata__": metadata}
    chunks, offset = [], 0
    for name in order:
        code = {"i1": "I8", "i4": "I32", "f4": "F32"}[tensors[name].dtype.str[1:]]
        chunk = np.ascontiguousarray(tensors[name], dtype=_DTYPES[code]).tobytes()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [offset, offset + len(chunk)]}
        chunks.append(chunk)
        offset += len(chunk)
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(chunks)


def read_head_manifest(data: bytes) -> Manifest | None:
    """The manifest of a head file, or None for another safetensors file; InputError where it is broken or cut short."""
    metadata, entries, body = _header(data)
    if MANIFEST_KEY not in metadata:
        return None
    _tensors(entries, body)
    return Manifest.from_json(metadata[MANIFEST_KEY])


def read_head_file(data: bytes) -> tuple[Head | QuantizedHead, Manifest]:
    """Reads and checks a head file.

    Args:
        data: the whole file. The arrays of the result are read-only views of it where it is aligned.

    Raises:
        InputError: not made by t2m-edge, or broken in any way.
    """
    metadata, entries, body = _header(data)
    if MANIFEST_KEY not in metadata:
        raise InputError("the head file has no manifest: t2m-edge did not make it")
    manifest = Manifest.from_json(metadata[MANIFEST_KEY])
    tensors = _tensors(entries, body)
    int8 = "layer0.scale" in tensors
    parts = ("weight", "scale", "bias") if int8 else ("weight", "bias")
    depth = 2 if "layer1.weight" in tensors else 1
    names = {f"layer{index}.{part}" for index in range(depth) for part in parts}
    if set(tensors) != names:
        raise InputError(f"the head file has tensors {sorted(tensors)}; expected {sorted(names)}")
    if not int8:
        layers = tuple(Layer(tensors[f"layer{i}.weight"], tensors[f"layer{i}.bias"]) for i in range(depth))
        return Head(manifest.labels, layers), manifest
    quantized = tuple(
        QuantizedLayer(
            weight=tensors[f"layer{i}.weight"],
            weight_scale=tensors[f"layer{i}.scale"],
            bias=tensors[f"layer{i}.bias"],
            output_scale=_number(metadata, f"layer{i}.output_scale"),
            output_zero_point=_whole(metadata, f"layer{i}.output_zero_point"),
        )
        for i in range(depth)
    )
    head = QuantizedHead(
        manifest.labels, _number(metadata, "input_scale"), _whole(metadata, "input_zero_point"), quantized
    )
    return head, manifest


def _header(data: bytes) -> tuple[dict[str, str], dict[str, Any], memoryview]:
    """(metadata, tensor entries, tensor bytes)."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        raise _broken("its header is cut short")
    if size > MAX_HEADER_BYTES:
        raise InputError(f"the head file's header has {size} bytes; expected at most {MAX_HEADER_BYTES}")
    try:
        header = json.loads(bytes(data[8 : 8 + size]).decode("utf-8"), parse_int=_parse_integer)
    except (ValueError, RecursionError):
        raise _broken("its header is not JSON") from None
    if not isinstance(header, dict):
        raise _broken("its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken("its metadata is not text")
    return metadata, header, memoryview(data)[8 + size :]


def _tensors(entries: dict[str, Any], body: memoryview) -> dict[str, np.ndarray]:
    """Checked views of the tensors: known dtype, shape that fits the offsets, no gap, no overlap."""
    if len(entries) > 6:
        raise _broken(f"it has {len(entries)} tensors, more than 6")
    spans, tensors = [], {}
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            raise _broken("a tensor's entry is not a JSON object")
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise _broken(f"a tensor has a dtype not one of {', '.join(_DTYPES)}")
        if not _whole_numbers(shape, MAX_FEATURES) or not 1 <= len(shape) <= 2 or 0 in shape:
            raise _broken(f"a tensor's shape is not one or two numbers from 1 to {MAX_FEATURES}")
        if not _whole_numbers(offsets, len(body)) or len(offsets) != 2:
            raise _broken("it is cut short, or a tensor lies outside it")
        begin, end = offsets
        if end - begin != math.prod(shape) * _DTYPES[dtype].itemsize:
            raise _broken("a tensor's offsets do not fit its shape")
        spans.append((begin, end))
        view = np.frombuffer(body[begin:end], dtype=_DTYPES[dtype]).reshape(shape)
        # Native and aligned is what Layer expects and numpy computes with fastest; a copy only where it is not.
        tensors[name] = np.require(view, dtype=_DTYPES[dtype].newbyteorder("="), requirements="A")
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise _broken("its tensors overlap or leave gaps")
        position = end
    if position != len(body):
        raise _broken("it has bytes that belong to no tensor")
    return tensors


def _whole_numbers(value: Any, most: int) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item <= most for item in value)


def _parse_integer(digits: str) -> int:
    # int() takes quadratic time on long numbers.
    if len(digits) > 20:
        raise ValueError("a number has more than 20 digits")
    return int(digits)


def _decimal(scale: float) -> str:
    """The shortest decimal that is this float32."""
    return str(np.float32(scale))


def _number(metadata: dict[str, str], key: str) -> float:
    text = metadata.get(key, "")
    try:
        # A number beyond float32 becomes infinite, which the head refuses.
        with np.errstate(over="ignore"):
            return float(np.float32(text[:40]))
    except ValueError:
        raise _broken(f"its {key} is not a number") from None


def _whole(metadata: dict[str, str], key: str) -> int:
    text = metadata.get(key, "")
    try:
        return int(text[:20])
    except ValueError:
        raise _broken(f"its {key} is not a whole number") from None


def _broken(reason: str) -> InputError:
    return InputError(f"the head file is broken ({reason}); make it again")
