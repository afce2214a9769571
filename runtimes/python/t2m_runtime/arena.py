"""How much RAM a .tflite needs on the C core: the number that t2m_arena_size gives, without the compiled core.

The plan is that of runtimes/c/src/arena.c, and a test holds the two equal: the model's record, one record for each
operator, the head's tensors, then the backbone's tensors (the image at the start, then the largest first, each at the
lowest place where it meets no tensor that is in use at the same time) and the scratch of the greediest operator, or the
memory that preparing a frame takes where that is more.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field

from t2m_runtime.errors import InputError

MODEL_BYTES = 768
OPERATOR_BYTES = 112
TILE = 4
BLOCK = 16
DEFAULT_FRAME_SIDE = 1920

# Field numbers and codes of TensorFlow Lite's schema.fbs.
_CODES, _SUBGRAPHS = 1, 2
_TENSORS, _INPUTS, _OPERATORS = 0, 1, 3
_ADD, _CONV_2D, _DEPTHWISE_CONV_2D, _FULLY_CONNECTED = 0, 3, 4, 9
_INT8 = 9


@dataclass(frozen=True)
class Room:
    """What to leave room for in the arena; 0 means the default (t2m.h, t2m_room).

    Args:
        labels: most labels of a head that will be swapped in.
        hidden: widest hidden layer of such a head.
        frame_side: longest side of what is left of a frame after the crop, in pixels.
    """

    labels: int = 0
    hidden: int = 0
    frame_side: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
                raise InputError(f"{name} is {value!r}; give a whole number from 0")


@dataclass(frozen=True)
class _Operator:
    """What the plan needs of an operator: its code, tensor numbers, and shapes."""

    code: int
    inputs: tuple[int, ...]
    output: int
    depth: int
    out_channels: int


@dataclass
class _Lifetime:
    size: int
    first: int
    last: int
    offset: int = field(default=-1)


def arena_size(model: bytes, room: Room | None = None) -> int:
    """Bytes of arena that the C core needs for a model.

    Args:
        model: a .tflite that t2m-edge compiled (or a pack's backbone.tflite), the whole file.
        room: what to leave room for beyond the model itself.

    Raises:
        InputError: the bytes are no such model.
    """
    try:
        return _plan(_Graph(model), room or Room())
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("the model is not a .tflite of t2m-edge, or it is damaged; compile it again") from error


def _plan(graph: _Graph, room: Room) -> int:
    features, tail = graph.split()
    backbone, head = graph.operators[: features + 1], graph.operators[features + 1 : features + 1 + tail]
    int8 = graph.type(backbone[-1].output) == _INT8
    item = 1 if int8 else 4
    widths = [op.out_channels for op in head]
    labels = max([room.labels, *widths[-1:]])
    hidden = max([room.hidden, *widths[:-1]])
    fixed = MODEL_BYTES + OPERATOR_BYTES * len(backbone)
    fixed += _align(hidden * item) + (_align(labels) if int8 else 0) + _align(4 * labels)

    image = _Lifetime(_align(math.prod(graph.shape(graph.input))), 0, 0)
    tensors = {graph.input: image}
    for index, op in enumerate(backbone):
        for source in op.inputs:
            tensors[source].last = index
        last = len(backbone) if index == features else index
        tensors[op.output] = _Lifetime(_align(math.prod(graph.shape(op.output)) * item), index, last)
    placed = _place(list(tensors.values()))

    d = graph.shape(backbone[-1].output)[-1]
    scratches = [_scratch(op.code, op.depth, op.out_channels, int8) for op in backbone]
    if labels:
        scratches.append(_scratch(_FULLY_CONNECTED, d, max(hidden, labels), int8))
    if hidden:
        scratches.append(_scratch(_FULLY_CONNECTED, hidden, labels, int8))
    _, height, width, _ = graph.shape(graph.input)
    side = room.frame_side or DEFAULT_FRAME_SIDE
    return fixed + max(placed + max(scratches), image.size + _frame_bytes(side, height, width))


def _place(tensors: list[_Lifetime]) -> int:
    """Gives each tensor an offset; returns the end of the highest."""
    image, *rest = tensors
    placed: list[_Lifetime] = []
    for tensor in [image, *sorted(rest, key=lambda tensor: -tensor.size)]:
        meets = [other for other in placed if tensor.first <= other.last and other.first <= tensor.last]
        tensor.offset = 0
        for other in sorted(meets, key=lambda other: other.offset):
            if tensor.offset < other.offset + other.size and other.offset < tensor.offset + tensor.size:
                tensor.offset = other.offset + other.size
        placed.append(tensor)
    return max(tensor.offset + tensor.size for tensor in tensors)


def _scratch(code: int, depth: int, channels: int, int8: bool) -> int:
    """Bytes that an operator needs while it runs."""
    if code in (_CONV_2D, _FULLY_CONNECTED):
        if not int8:
            return TILE * 4 * depth
        return _align(12 * channels) + 2 * TILE * -(-depth // BLOCK) * BLOCK
    return _align(12 * channels) if code == _DEPTHWISE_CONV_2D and int8 else 0


def _frame_bytes(side: int, height: int, width: int) -> int:
    """Bytes that preparing a frame of a given longest side takes."""
    taps = 2 * -(-side // min(height, width)) + 1
    padded = -(-taps // BLOCK) * BLOCK
    pixels, spans, weights = 3 * (_align(side) + BLOCK), _align(8 * width), 4 * width * padded
    column, rows = _align(8 * taps), _align(taps * 3 * width)
    offsets, gathered = _align(6 * (side // 2 + 8)), _align(side + 2 * (side // 2 + 1))
    return pixels + spans + weights + column + offsets + rows + gathered


def _align(size: int) -> int:
    return -(-size // 16) * 16


class _Graph:
    """The parts of a .tflite that the plan needs."""

    def __init__(self, model: bytes) -> None:
        self._data = memoryview(model)
        if bytes(self._data[4:8]) != b"TFL3":
            raise InputError("the model is not a .tflite file; give one that t2m-edge compile wrote")
        root = self._u32(0)
        codes = self._tables(root, _CODES)
        (subgraph,) = self._tables(root, _SUBGRAPHS)
        self._tensors = self._tables(subgraph, _TENSORS)
        (self.input,) = self._numbers(subgraph, _INPUTS)
        self.operators = [self._operator(table, codes) for table in self._tables(subgraph, _OPERATORS)]

    def split(self) -> tuple[int, int]:
        """(index of the operator that gives the features, how many FULLY_CONNECTED follow)."""
        for index, op in enumerate(self.operators):
            if self._name(op.output) == b"features":
                return index, sum(op.code == _FULLY_CONNECTED for op in self.operators[index + 1 :])
        raise InputError('the model has no tensor named "features"; compile it with t2m-edge')

    def shape(self, tensor: int) -> tuple[int, ...]:
        return self._numbers(self._tensors[tensor], 0)

    def type(self, tensor: int) -> int:
        at = self._field(self._tensors[tensor], 1)
        return self._data[at] if at else 0

    def _name(self, tensor: int) -> bytes:
        start, count = self._vector(self._tensors[tensor], 3)
        return bytes(self._data[start : start + count])

    def _operator(self, table: int, codes: list[int]) -> _Operator:
        at = self._field(table, 0)
        code = codes[self._u32(at) if at else 0]
        at = self._field(code, 3)
        builtin = self._u32(at) if at else 0
        inputs, (output,) = self._numbers(table, 1), self._numbers(table, 2)
        depth, channels = 0, self.shape(output)[-1]
        if builtin in (_CONV_2D, _FULLY_CONNECTED):
            depth = math.prod(self.shape(inputs[1])[1:])
        return _Operator(builtin, inputs[: 2 if builtin == _ADD else 1], output, depth, channels)

    def _u32(self, at: int) -> int:
        return struct.unpack_from("<I", self._data, at)[0]

    def _field(self, table: int, slot: int) -> int:
        """Position of a table's field, 0 where it is absent."""
        vtable = table - struct.unpack_from("<i", self._data, table)[0]
        if vtable < 0 or 6 + 2 * slot > struct.unpack_from("<H", self._data, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", self._data, vtable + 4 + 2 * slot)[0]
        return table + offset if offset else 0

    def _vector(self, table: int, slot: int) -> tuple[int, int]:
        """(position of the first item, count)."""
        at = self._field(table, slot)
        if not at:
            return 0, 0
        start = at + self._u32(at)
        return start + 4, self._u32(start)

    def _numbers(self, table: int, slot: int) -> tuple[int, ...]:
        start, count = self._vector(table, slot)
        return struct.unpack_from(f"<{count}i", self._data, start) if count <= 2**16 else ()

    def _tables(self, table: int, slot: int) -> list[int]:
        start, count = self._vector(table, slot)
        places = range(start, start + 4 * min(count, 2**16), 4)
        return [place + self._u32(place) for place in places]
