"""Artifacts on disk: which format a file has, its manifest, and head files.

A file is recognised by its bytes, not by its name.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import Iterator, Union

from t2m_runtime.associated_files import has_unfinished_archive, read_associated_file
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead
from t2m_runtime.head_file import is_head_file, read_head_file, read_head_manifest, write_head_file
from t2m_runtime.json_fields import MAX_MANIFEST_BYTES
from t2m_runtime.manifest import Manifest
from t2m_runtime.onnx_metadata import is_onnx, read_metadata
from t2m_runtime.tflite_file import is_whole

TFLITE_MEMBER = "t2m_manifest.json"
ONNX_KEY = "t2m_manifest"
MAX_ARTIFACT_BYTES = 2**28
"""Largest artifact that is read into memory, 268 MB: six times the largest backbone known to compile."""

Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]


def read_manifest(source: Source) -> Manifest:
    """The manifest inside an artifact; the model itself is not loaded.

    Args:
        source: path of a .tflite, .onnx or .t2mh file, or its bytes.

    Raises:
        InputError: no such file, not an artifact of t2m-edge, or broken.
    """
    return manifest_of(read_bytes(source), name_of(source))


def load_head(source: Source, name: str | None = None) -> tuple[Head | QuantizedHead, Manifest]:
    """Reads a head file.

    Args:
        source: path of a .t2mh file, or its bytes.
        name: of the file, for messages; None takes the path.

    Returns:
        The head (QuantizedHead for int8, else Head) and its manifest.

    Raises:
        InputError: no such file, not a head file of t2m-edge, or broken.
    """
    data = read_bytes(source)
    name = name or name_of(source)
    if not is_head_file(data):
        raise InputError(f"{name} is not a head file; give a .t2mh that t2m-edge made")
    with naming(name):
        return read_head_file(data)


def save_head(head: Head | QuantizedHead, manifest: Manifest) -> bytes:
    """The bytes of a .t2mh file; see head_file.py for the format.

    Raises:
        InputError: the manifest has other labels than the head.
    """
    return write_head_file(head, manifest)


def manifest_of(data: bytes, name: str) -> Manifest:
    """read_manifest for bytes that are already in memory; name is used in messages."""
    kind = kind_of(data)
    if kind == "tflite":
        text = read_associated_file(data, TFLITE_MEMBER, MAX_MANIFEST_BYTES)
    elif kind == "onnx":
        with naming(name):
            text = read_metadata(data, ONNX_KEY, MAX_MANIFEST_BYTES)
    elif kind == "head":
        with naming(name):
            manifest = read_head_manifest(data)
        if manifest is None:
            raise _not_ours(name)
        return manifest
    else:
        raise InputError(f"{name} is not a .tflite, .onnx or .t2mh file; give an artifact that t2m-edge compile wrote")
    if text is None:
        cut = kind == "tflite" and (not is_whole(data) or has_unfinished_archive(data))
        raise cut_short(name) if cut else _not_ours(name)
    return Manifest.from_json(text)


def kind_of(data: bytes) -> str | None:
    """ "tflite", "onnx", "head" or None, by the first bytes."""
    if data[4:8] == b"TFL3":
        return "tflite"
    if is_head_file(data):
        return "head"
    return "onnx" if is_onnx(data) else None


def read_bytes(source: Source) -> bytes:
    """A whole artifact in memory.

    Raises:
        InputError: no such file, not a regular file, or larger than MAX_ARTIFACT_BYTES.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        if memoryview(source).nbytes > MAX_ARTIFACT_BYTES:
            raise _too_large("the model")
        return bytes(source)
    try:
        path = os.fspath(source)
    except TypeError:
        raise InputError(f"the model is a {type(source).__name__}; give a path or the file's bytes") from None
    name = os.fsdecode(path)
    try:
        # A pipe or a device could block or never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{name} is not a regular file; give a model file")
        with open(path, "rb") as file:
            data = file.read(MAX_ARTIFACT_BYTES + 1) if os.fstat(file.fileno()).st_size <= MAX_ARTIFACT_BYTES else None
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot open the model {name!r} ({reason}); check the path") from error
    if data is None or len(data) > MAX_ARTIFACT_BYTES:
        raise _too_large(name)
    return data


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Puts the file's name before an error of what lies in it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def name_of(source: Source) -> str:
    """What to call the artifact in a message."""
    return "the model" if isinstance(source, (bytes, bytearray, memoryview)) else os.fsdecode(os.fspath(source))


def _too_large(name: str) -> InputError:
    return InputError(f"{name} has more than {MAX_ARTIFACT_BYTES} bytes; t2m-edge makes no models that large")


def cut_short(name: str) -> InputError:
    """What to tell of a file that ends before its model does."""
    return InputError(f"{name} is damaged or cut short: its end is missing; copy or make it again")


def _not_ours(name: str) -> InputError:
    return InputError(f"{name} carries no t2m-edge manifest: t2m-edge did not make it; give a file that compile wrote")
