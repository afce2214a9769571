"""The few tables of the TFLite flatbuffer schema (file identifier TFL3, version 3) that our models use.

Slots are the field numbers of the public ``schema.fbs``. Written here with flatbuffers' own builder, because importing
the generated module for the whole schema costs more time than writing a model. The tests read every file back with
that generated module.
"""

from __future__ import annotations

from typing import NamedTuple

import flatbuffers
import numpy as np

from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import FILE_IDENTIFIER, TENSOR_TYPES, Tables, read_tables

SCHEMA_VERSION = 3
ALIGNMENT = 16
"""schema.fbs: ``Buffer.data (force_align: 16)``."""

SAME, NONE, RELU = 0, 0, 1


class OperatorKind(NamedTuple):
    """BuiltinOperator code, BuiltinOptions type, and the lowest version for each form of its inputs (op_version.cc).

    Forms: the type of the first input, or "dynamic" for float activations with int8 weights.
    """

    code: int
    options_type: int
    versions: dict[str, int]


OPERATORS = {
    "ADD": OperatorKind(0, 11, {"float32": 1, "int8": 2}),
    "CONV_2D": OperatorKind(3, 1, {"float32": 1, "int8": 3, "dynamic": 5}),
    "DEPTHWISE_CONV_2D": OperatorKind(4, 2, {"float32": 1, "int8": 3, "dynamic": 6}),
    "DEQUANTIZE": OperatorKind(6, 38, {"uint8": 1, "int8": 2, "float16": 3}),
    "LOGISTIC": OperatorKind(14, 0, {"float32": 1}),
    "FULLY_CONNECTED": OperatorKind(9, 8, {"float32": 1, "int8": 4, "dynamic": 9}),
    "L2_NORMALIZATION": OperatorKind(11, 12, {"float32": 1, "int8": 2}),
    "SOFTMAX": OperatorKind(25, 9, {"float32": 1, "int8": 2}),
    "MEAN": OperatorKind(40, 27, {"float32": 1, "int8": 2}),
    "QUANTIZE": OperatorKind(114, 89, {"float32": 1, "uint8": 1, "int8": 1}),
}


ROOM = 1 << 16
"""Bytes to begin a flatbuffer with, beside its weights."""


def activation(relu: bool, slot: int = 0) -> tuple:
    """The option "fused activation function" of an operator, which has it in this slot of its table."""
    return ((slot, "Int8", RELU if relu else NONE),)


class ModelWriter:
    """Collects the tables of one model and finishes them into a file.

    A flatbuffer is built from its end to its front, and offsets only point towards the end. So a finished model can be
    the end of a larger one: its tensors, operators and buffers are referred to where they lie, and only the vectors
    that list them, the subgraph and the root are written again (the old ones stay behind as under 2 kB of dead bytes).
    The builder never holds those bytes. It counts positions from the end of what it writes, so a table at byte p of
    the model that will follow is at -p.
    """

    def __init__(self, room: int, model: bytes = b"", tables: Tables | None = None) -> None:
        """Args:
        room: bytes to reserve for what will be added (more is found when needed).
        model: a finished model to extend; its length must be a multiple of 16.
        tables: read_tables(model), where it is at hand.
        """
        self.builder = flatbuffers.Builder(room)
        self.builder.minalign = ALIGNMENT
        self._model = model
        self._codes: list[int] = []
        self._code_index: dict[tuple[int, int], int] = {}
        self._tensors: list[int] = []
        self._operators: list[int] = []
        self._buffers: list[int] = []
        if not model:
            self.buffer(b"")
            return
        if len(model) % ALIGNMENT:
            raise InputError(f"the backbone has {len(model)} bytes, no multiple of {ALIGNMENT}; write it again")
        found = tables or read_tables(model)
        self._codes = [-position for position in found.codes]
        self._code_index = {key: i for i, key in enumerate(found.operator_codes)}
        self._tensors = [-position for position in found.tensors]
        self._operators = [-position for position in found.operators]
        self._buffers = [-position for position in found.buffers]

    def packed(self, codes: list[tuple[int, int, int]], tensors: list[int], operators: list[int]) -> None:
        """Takes tables that were written with this builder: (code, version, place), and places."""
        for code, version, place in codes:
            self._code_index.setdefault((code, version), len(self._codes))
            self._codes.append(place)
        self._tensors += tensors
        self._operators += operators

    def buffer(self, data: bytes | np.ndarray) -> int:
        """Adds a Buffer and returns its index; data is bytes or a little-endian C-order array."""
        b = self.builder
        vector = None
        if len(data):
            raw = memoryview(np.ascontiguousarray(data)).cast("B") if isinstance(data, np.ndarray) else data
            b.StartVector(1, len(raw), ALIGNMENT)
            b.head -= len(raw)
            b.Bytes[b.head : b.head + len(raw)] = raw
            vector = b.EndVector()
        b.StartObject(1)
        if vector is not None:
            b.PrependUOffsetTRelativeSlot(0, vector, 0)
        self._buffers.append(b.EndObject())
        return len(self._buffers) - 1

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        scale: float | np.ndarray | None = None,
        zero_point: int = 0,
        axis: int = 0,
        data: np.ndarray | None = None,
    ) -> int:
        """Adds a Tensor and returns its index.

        Args:
            scale: one number, or float32 (channels,) along ``axis``; None for a tensor without quantisation.
            data: the values of a constant.
        """
        b = self.builder
        index = self.buffer(data) if data is not None else 0
        label = b.CreateString(name)
        dims = self.numbers(shape, "<i4")
        quantization = None
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, "<f4"))
            scale_vector = b.CreateNumpyVector(scales)
            zero_vector = b.CreateNumpyVector(np.full(len(scales), zero_point, "<i8"))
            b.StartObject(7)
            b.PrependUOffsetTRelativeSlot(2, scale_vector, 0)
            b.PrependUOffsetTRelativeSlot(3, zero_vector, 0)
            b.PrependInt32Slot(6, axis if len(scales) > 1 else 0, 0)
            quantization = b.EndObject()
        b.StartObject(11)
        b.PrependUOffsetTRelativeSlot(0, dims, 0)
        b.PrependInt8Slot(1, TENSOR_TYPES[dtype], 0)
        b.PrependUint32Slot(2, index, 0)
        b.PrependUOffsetTRelativeSlot(3, label, 0)
        if quantization is not None:
            b.PrependUOffsetTRelativeSlot(4, quantization, 0)
        self._tensors.append(b.EndObject())
        return len(self._tensors) - 1

    def operator(self, kind: str, inputs: list[int], output: int, form: str, options: tuple = ()) -> None:
        """Adds an Operator and, the first time, its OperatorCode.

        Args:
            kind: a key of OPERATORS.
            form: a key of its versions.
            options: (slot, "Int8" | "Int32" | "Float32" | "Bool", value) of the operator's options table; none of the
                fields that we write has a schema default other than 0.
        """
        b = self.builder
        facts = OPERATORS[kind]
        key = (facts.code, facts.versions[form])
        if key not in self._code_index:
            b.StartObject(4)
            b.PrependInt8Slot(0, facts.code, 0)
            b.PrependInt32Slot(2, key[1], 1)
            b.PrependInt32Slot(3, facts.code, 0)
            self._code_index[key] = len(self._codes)
            self._codes.append(b.EndObject())
        table = None
        if facts.options_type:
            b.StartObject(max((slot for slot, _, _ in options), default=0) + 1)
            for slot, form, value in options:
                getattr(b, f"Prepend{form}Slot")(slot, value, 0)
            table = b.EndObject()
        sources, results = self.numbers(inputs, "<i4"), self.numbers([output], "<i4")
        b.StartObject(5)
        b.PrependUint32Slot(0, self._code_index[key], 0)
        b.PrependUOffsetTRelativeSlot(1, sources, 0)
        b.PrependUOffsetTRelativeSlot(2, results, 0)
        b.PrependUint8Slot(3, facts.options_type, 0)
        if table is not None:
            b.PrependUOffsetTRelativeSlot(4, table, 0)
        self._operators.append(b.EndObject())

    def finish(
        self,
        input: tuple[str, int],
        output: tuple[str, int],
        description: str,
        metadata: dict[str, bytes] | None = None,
        signature: str = "serving_default",
    ) -> list[memoryview | bytes]:
        """Writes subgraph, signature, metadata and root, and returns the file as pieces to join.

        Args:
            input, output: (name in the signature, tensor index).
            metadata: name -> content of a metadata buffer.
        """
        b = self.builder
        entries = []
        for name, content in (metadata or {}).items():
            index, label = self.buffer(content), b.CreateString(name)
            b.StartObject(2)
            b.PrependUOffsetTRelativeSlot(0, label, 0)
            b.PrependUint32Slot(1, index, 0)
            entries.append(b.EndObject())

        name = b.CreateString("main")
        parts = (
            self._offsets(self._tensors),
            self.numbers([input[1]], "<i4"),
            self.numbers([output[1]], "<i4"),
            self._offsets(self._operators),
            name,
        )
        b.StartObject(5)
        for slot, part in enumerate(parts):
            b.PrependUOffsetTRelativeSlot(slot, part, 0)
        subgraphs = self._offsets([b.EndObject()])

        maps = [self._offsets([self._tensor_map(*end)]) for end in (input, output)]
        key = b.CreateString(signature)
        b.StartObject(5)
        b.PrependUOffsetTRelativeSlot(0, maps[0], 0)
        b.PrependUOffsetTRelativeSlot(1, maps[1], 0)
        b.PrependUOffsetTRelativeSlot(2, key, 0)
        signatures = self._offsets([b.EndObject()])

        text = b.CreateString(description)
        codes, buffers = self._offsets(self._codes), self._offsets(self._buffers)
        extra = self._offsets(entries) if entries else None
        b.StartObject(8)
        b.PrependUint32Slot(0, SCHEMA_VERSION, 0)
        b.PrependUOffsetTRelativeSlot(1, codes, 0)
        b.PrependUOffsetTRelativeSlot(2, subgraphs, 0)
        b.PrependUOffsetTRelativeSlot(3, text, 0)
        b.PrependUOffsetTRelativeSlot(4, buffers, 0)
        if extra is not None:
            b.PrependUOffsetTRelativeSlot(6, extra, 0)
        b.PrependUOffsetTRelativeSlot(7, signatures, 0)
        b.Finish(b.EndObject(), file_identifier=FILE_IDENTIFIER)
        return [memoryview(b.Bytes)[b.Head() :], self._model]

    def numbers(self, values: object, dtype: str) -> int:
        """Offset of a vector of scalars."""
        return self.builder.CreateNumpyVector(np.asarray(values, dtype))

    def _offsets(self, tables: list[int]) -> int:
        """Offset of a vector of tables: what PrependUOffsetTRelative writes, all at once."""
        b, count = self.builder, len(tables)
        b.StartVector(4, count, 4)
        places = b.Offset() + 4 * np.arange(count, 0, -1)
        b.head -= 4 * count
        b.Bytes[b.head : b.head + 4 * count] = (places - np.asarray(tables)).astype("<u4").tobytes()
        return b.EndVector()

    def _tensor_map(self, name: str, index: int) -> int:
        b = self.builder
        label = b.CreateString(name)
        b.StartObject(2)
        b.PrependUOffsetTRelativeSlot(0, label, 0)
        b.PrependUint32Slot(1, index, 0)
        return b.EndObject()
