"""TFLite Metadata: what MediaPipe Tasks and Android read to use a model without us.

A flatbuffer of its own (file identifier M001) inside the model, plus the files it names in a zip at the model's end.
Slots are the field numbers of the public ``metadata_schema.fbs`` 1.1.0 of tflite-support.
"""

from __future__ import annotations

import io
import zipfile

import flatbuffers
import numpy as np

from t2m_runtime.errors import InputError

FILE_IDENTIFIER = b"M001"
METADATA_NAME = "TFLITE_METADATA"
LABELS_NAME = "labels.txt"
MANIFEST_NAME = "t2m_manifest.json"
MIN_PARSER_VERSION = "1.0.0"
"""Every field below is in the first version of the metadata schema."""

_RGB = 1
_TENSOR_AXIS_LABELS = 2
_IMAGE_PROPERTIES = 2
_FEATURE_PROPERTIES = 1
_NORMALIZATION_OPTIONS = 1
_REF = "UOffsetTRelative"
_MEANING = {
    "softmax": "One score a class; they sum to 1.",
    "logits": "One logit a class.",
    "sigmoid": "One score a class, from 0 to 1, each by itself.",
}
_EPOCH = (1980, 1, 1, 0, 0, 0)


def model_metadata(name: str, description: str, height: int, width: int, scores: str = "softmax") -> bytes:
    """ModelMetadata of an image classifier whose normalisation is inside the graph.

    Args:
        name: name of the task.
        description: one line for people.
        height, width: of the input image.
        scores: "softmax", "logits" or "sigmoid".

    Returns:
        The flatbuffer: RGB image in, mean 0 and std 1 (that is: give it the raw bytes), labels.txt along the axis of
        the output.
    """
    b = flatbuffers.Builder(1024)

    # Arguments are evaluated before the call, so nested tables and strings are finished before their owner starts.
    def table(slots: int, *values: tuple[str, int, int]) -> int:
        b.StartObject(slots)
        for form, slot, value in values:
            getattr(b, f"Prepend{form}Slot")(slot, value, 0)
        return b.EndObject()

    def one(offset: int) -> int:
        b.StartVector(4, 1, 4)
        b.PrependUOffsetTRelative(offset)
        return b.EndVector()

    def text(value: str) -> int:
        return b.CreateString(value)

    def numbers(*values: float) -> int:
        return b.CreateNumpyVector(np.asarray(values, "<f4"))

    labels = table(
        4,
        (_REF, 0, text(LABELS_NAME)),
        (_REF, 1, text("Class names, one a line, in the order of the scores.")),
        ("Int8", 2, _TENSOR_AXIS_LABELS),
    )
    size = table(2, ("Uint32", 0, width), ("Uint32", 1, height))
    picture = table(2, ("Int8", 0, _RGB), (_REF, 1, size))
    identity = table(2, (_REF, 0, numbers(0.0)), (_REF, 1, numbers(1.0)))
    image = table(
        7,
        (_REF, 0, text("image")),
        (_REF, 1, text("RGB image, one byte a channel; the normalisation is inside the model.")),
        (_REF, 3, table(3, ("Uint8", 0, _IMAGE_PROPERTIES), (_REF, 1, picture))),
        (_REF, 4, one(table(2, ("Uint8", 0, _NORMALIZATION_OPTIONS), (_REF, 1, identity)))),
    )
    result = table(
        7,
        (_REF, 0, text("scores")),
        (_REF, 1, text(_MEANING[scores])),
        (_REF, 3, table(3, ("Uint8", 0, _FEATURE_PROPERTIES), (_REF, 1, table(0)))),
        (_REF, 6, one(labels)),
    )
    subgraph = table(7, (_REF, 2, one(image)), (_REF, 3, one(result)))
    root = table(
        8,
        (_REF, 0, text(name)),
        (_REF, 1, text(description)),
        (_REF, 3, one(subgraph)),
        (_REF, 7, text(MIN_PARSER_VERSION)),
    )
    b.Finish(root, file_identifier=FILE_IDENTIFIER)
    return bytes(b.Output())


def labels_file(labels: tuple[str, ...]) -> bytes:
    """Content of labels.txt: UTF-8, one name a line.

    Raises:
        InputError: a label is empty or holds a line break, which the file cannot express.
    """
    for label in labels:
        if not label or label.splitlines() != [label]:
            raise InputError(f"the label {label!r} is empty or has a line break; rename the class")
    return ("\n".join(labels) + "\n").encode()


def with_files(*model: bytes | memoryview, files: dict[str, bytes]) -> bytes:
    """A model, given in pieces, with associated files: a zip at its end, stored, not compressed, dated 1980."""
    tail = _Tail(sum(len(piece) for piece in model))
    with zipfile.ZipFile(tail, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return b"".join([*model, tail.getbuffer()])


class _Tail(io.BytesIO):
    """The end of a file whose first ``base`` bytes are elsewhere, so that a large model is copied only once."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self._base = base

    def tell(self) -> int:
        return super().tell() + self._base

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return super().seek(offset - self._base if whence == io.SEEK_SET else offset, whence) + self._base
