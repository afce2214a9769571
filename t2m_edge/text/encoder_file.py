"""The tensors of a text encoder: a safetensors file read and written with numpy and json alone.

The format: 8 bytes header length (little endian), a JSON header {name: {dtype, shape, data_offsets}}, then the bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from t2m_runtime.errors import InputError

MAX_HEADER_BYTES = 65_536
MAX_FILE_BYTES = 64 * 2**20
_DTYPES = {"I8": np.dtype("<i1"), "U32": np.dtype("<u4"), "F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def write_tensors(tensors: Mapping[str, np.ndarray]) -> bytes:
    """The file's bytes; the same tensors give the same bytes (widest items first, then by name)."""
    header, chunks, offset = {}, [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
        array = np.ascontiguousarray(tensors[name])
        chunk = array.tobytes()
        header[name] = {
            "dtype": _CODES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(chunk)],
        }
        chunks.append(chunk)
        offset += len(chunk)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(chunks)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Checked, read-only arrays of a file.

    Raises:
        InputError: missing, larger than 64 MiB, cut short, or no safetensors file of int8, uint32, float16 or float32.
    """
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{path} has {size} bytes; a text encoder has at most {MAX_FILE_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); expected a text encoder's tensors") from None
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, MAX_HEADER_BYTES):
        raise _broken(path, "its header is cut short or too long")
    body = memoryview(data)[8 + length :]
    try:
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        tensors = {str(name): _tensor(entry, body) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise _broken(path, "its header does not describe its bytes") from None
    return tensors


def _tensor(entry: dict, body: memoryview) -> np.ndarray:
    dtype = _DTYPES[entry["dtype"]]
    shape, (begin, end) = entry["shape"], entry["data_offsets"]
    if not all(type(n) is int and 0 <= n < 2**31 for n in [*shape, begin, end]) or len(shape) > 2:
        raise ValueError
    if end > len(body) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError
    return np.frombuffer(body[begin:end], dtype).reshape(shape)


def _broken(path: Path, why: str) -> InputError:
    return InputError(f"{path} is not a text encoder's safetensors file: {why}; build or fetch the pack again")
