"""The C core (runtimes/c) from Python, through ctypes.

    with CoreModel(open("model.tflite", "rb").read()) as model:
        model.prepare(frame)
        model.run()
        model.top(3)

The compiled library is found at ``T2M_CORE_LIBRARY`` or inside this package (``core_path``).
"""

from __future__ import annotations

import ctypes
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from t2m_runtime.arena import Room
from t2m_runtime.errors import InputError
from t2m_runtime.frames import FORMATS, YUVS, Frame

ALIGNMENT = 16
LABEL_BYTES = 4001
VERSION = "0.1.0"

_NOT_RUN = "T2M_ERROR_NOT_RUN"
STATUSES = (
    "T2M_OK",
    "T2M_ERROR_ARGUMENT",
    "T2M_ERROR_ALIGNMENT",
    "T2M_ERROR_NOT_A_MODEL",
    "T2M_ERROR_BROKEN_MODEL",
    "T2M_ERROR_UNSUPPORTED",
    "T2M_ERROR_NO_MANIFEST",
    "T2M_ERROR_BROKEN_MANIFEST",
    "T2M_ERROR_NEWER",
    "T2M_ERROR_ARENA_TOO_SMALL",
    "T2M_ERROR_BROKEN_HEAD",
    "T2M_ERROR_HEAD_MISMATCH",
    "T2M_ERROR_HEAD_TOO_LARGE",
    "T2M_ERROR_NO_HEAD",
    "T2M_ERROR_FRAME",
    "T2M_ERROR_FRAME_TOO_LARGE",
    _NOT_RUN,
    "T2M_ERROR_NOT_FINITE",
    "T2M_ERROR_PRECISION",
    "T2M_ERROR_ENGINE",
)
"""Names of t2m_status, by number."""

_NAMES = ("t2m_core.so", "t2m_core.dylib", "t2m_core.dll")


class _Room(ctypes.Structure):
    _fields_ = [("labels", ctypes.c_uint32), ("hidden", ctypes.c_uint32), ("frame_side", ctypes.c_uint32)]


class _Class(ctypes.Structure):
    _fields_ = [("index", ctypes.c_uint32), ("score", ctypes.c_float)]


class _Plane(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_size_t),
        ("stride", ctypes.c_uint32),
        ("step", ctypes.c_uint32),
    ]


class _Frame(ctypes.Structure):
    _fields_ = [
        ("format", ctypes.c_int),
        ("yuv", ctypes.c_int),
        ("width", ctypes.c_uint32),
        ("height", ctypes.c_uint32),
        ("rotation", ctypes.c_uint32),
        ("plane", _Plane * 3),
    ]


class CoreError(InputError):
    """A status of the core that is not T2M_OK; ``status`` is its name."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(text)
        self.status = status


def core_path() -> Path | None:
    """Where the compiled library is, or None."""
    given = os.environ.get("T2M_CORE_LIBRARY")
    if given:
        return Path(given)
    here = Path(__file__).parent
    return next((here / name for name in _NAMES if (here / name).exists()), None)


def core_library() -> ctypes.CDLL:
    """The loaded library, its functions declared.

    Raises:
        InputError: there is none, it cannot be loaded, or it is not the core.
    """
    path = core_path()
    if path is None:
        raise InputError(
            "the C core is not installed; in a clone: T2M_CORE_CC=gcc pip install ./runtimes/python "
            "(or T2M_CORE_LIBRARY=a shared library of it)"
        )
    return load_core_library(str(path))


@cache
def load_core_library(path: str) -> ctypes.CDLL:
    """core_library for a library at a given path."""
    try:
        library = ctypes.CDLL(path)
        _declare(library)
    except (OSError, AttributeError) as error:
        raise InputError(f"cannot load the C core {path!r} ({error}); build it for this machine") from error
    return library


def _declare(library: ctypes.CDLL) -> None:
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32
    out = ctypes.POINTER
    for name, result, arguments in (
        ("t2m_status_text", ctypes.c_char_p, [ctypes.c_int]),
        ("t2m_arena_size", ctypes.c_int, [pointer, size, out(_Room), out(size)]),
        ("t2m_open", ctypes.c_int, [out(pointer), pointer, size, out(_Room), pointer, size]),
        ("t2m_swap_head", ctypes.c_int, [pointer, pointer, size]),
        ("t2m_height", number, [pointer]),
        ("t2m_width", number, [pointer]),
        ("t2m_input", pointer, [pointer]),
        ("t2m_run", ctypes.c_int, [pointer]),
        ("t2m_label_count", number, [pointer]),
        ("t2m_scores", pointer, [pointer]),
        ("t2m_features", pointer, [pointer, out(number), out(ctypes.c_bool)]),
        ("t2m_label", ctypes.c_int, [pointer, number, ctypes.c_char_p, size]),
        ("t2m_top", ctypes.c_int, [pointer, out(_Class), number, out(number), out(ctypes.c_bool)]),
        ("t2m_present", ctypes.c_int, [pointer, number, out(ctypes.c_bool)]),
        ("t2m_prepare", ctypes.c_int, [pointer, out(_Frame)]),
        ("t2m_kernels", ctypes.c_char_p, [pointer]),
        ("t2m_set_kernels", ctypes.c_int, [pointer, ctypes.c_char_p]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


def _aligned(size: int) -> np.ndarray:
    """uint8 (size,), its first byte at a multiple of ALIGNMENT."""
    room = np.zeros(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size]


def _aligned_copy(data: bytes) -> np.ndarray:
    copy = _aligned(len(data))
    copy[:] = np.frombuffer(data, np.uint8)
    return copy


def native_arena_size(model: bytes, room: Room | None = None, library: ctypes.CDLL | None = None) -> int:
    """What t2m_arena_size says; t2m_runtime.arena computes the same without the library.

    Raises:
        CoreError: the core cannot use the model.
    """
    library = library or core_library()
    file, found = _aligned_copy(model), ctypes.c_size_t()
    wanted = _room(room)
    _check(library, library.t2m_arena_size(file.ctypes.data, file.size, wanted, ctypes.byref(found)))
    return found.value


def _room(room: Room | None) -> Any:
    return None if room is None else ctypes.byref(_Room(room.labels, room.hidden, room.frame_side))


def _check(library: ctypes.CDLL, status: int) -> None:
    if status:
        name = STATUSES[status] if status < len(STATUSES) else f"status {status}"
        raise CoreError(name, library.t2m_status_text(status).decode())


class CoreModel:
    """One open model. Its methods may be called from several threads: one at a time gets in.

    Args:
        model: a compiled .tflite (or a backbone.tflite, to swap heads into), the whole file.
        room: what to leave room for in the arena.
        kernels: "reference", "avx2", "avx512-vnni", "neon", "neon-dotprod", "wasm-simd"; None takes the best here.
        library: from load_core_library; None takes core_library().

    Raises:
        CoreError: the core cannot use the model, or does not have the kernels here.
    """

    def __init__(
        self, model: bytes, room: Room | None = None, kernels: str | None = None, library: ctypes.CDLL | None = None
    ) -> None:
        self._library = library or core_library()
        self._lock = threading.Lock()
        self._file, self._head = _aligned_copy(model), None
        self._arena = _aligned(native_arena_size(model, room, self._library))
        handle, wanted = ctypes.c_void_p(), _room(room)
        arguments = (self._file.ctypes.data, self._file.size, wanted, self._arena.ctypes.data, self._arena.size)
        _check(self._library, self._library.t2m_open(ctypes.byref(handle), *arguments))
        self._handle: ctypes.c_void_p | None = handle
        if kernels is not None:
            self._call("t2m_set_kernels", kernels.encode())
        self.height, self.width = (getattr(self._library, f"t2m_{side}")(handle) for side in ("height", "width"))

    @property
    def arena_size(self) -> int:
        """Bytes of the arena."""
        return self._arena.size

    @property
    def kernels(self) -> str:
        """The kernels in use."""
        return self._library.t2m_kernels(self._open()).decode()

    @property
    def n_features(self) -> int:
        """Length of the backbone's output."""
        count = ctypes.c_uint32()
        self._library.t2m_features(self._open(), ctypes.byref(count), None)
        return count.value

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names of the current head; empty where there is none."""
        text = ctypes.create_string_buffer(LABEL_BYTES)
        with self._lock:
            found = []
            for index in range(self._library.t2m_label_count(self._open())):
                self._call("t2m_label", index, text, LABEL_BYTES)
                found.append(text.value.decode("utf-8", "replace"))
        return tuple(found)

    def prepare(self, frame: Frame) -> np.ndarray:
        """Puts a frame into the model's input; returns a copy of it, uint8 (height, width, 3)."""
        planes = [np.frombuffer(plane, np.uint8) for plane in frame.planes]
        given = _Frame(FORMATS.index(frame.format), YUVS.index(frame.yuv), frame.width, frame.height, frame.rotation)
        for index, plane in enumerate(planes):
            given.plane[index] = _Plane(plane.ctypes.data, plane.size, *frame.layout(index))
        with self._lock:
            self._call("t2m_prepare", ctypes.byref(given))
            return self._input().copy()

    def run(self, image: np.ndarray | None = None) -> np.ndarray:
        """Runs the model on its prepared input, or on a uint8 (height, width, 3) image; returns float32 (k,) scores.

        Raises:
            CoreError: another shape or dtype, or scores that are not finite.
        """
        with self._lock:
            self._run(image)
            return self._scores()

    def run_backbone(self, image: np.ndarray | None = None) -> np.ndarray:
        """As run, of a model with or without a head; returns the backbone's output, int8 or float32 (d,)."""
        with self._lock:
            self._run(image)
            return self._features()

    def scores(self) -> np.ndarray:
        """Scores of the last run, float32 (k,)."""
        with self._lock:
            return self._scores()

    def features(self) -> np.ndarray:
        """The backbone's output of the last run: int8 or float32 (d,)."""
        with self._lock:
            return self._features()

    def top(self, most: int) -> tuple[list[tuple[int, float]], bool]:
        """([(index of the label, score), ...], rejected) of the last run, best first."""
        with self._lock:
            classes, count, rejected = (_Class * most)(), ctypes.c_uint32(), ctypes.c_bool()
            self._call("t2m_top", classes, most, ctypes.byref(count), ctypes.byref(rejected))
            return [(item.index, item.score) for item in classes[: count.value]], rejected.value

    def is_present(self, index: int) -> bool:
        """Whether a class's score of the last run reaches its threshold (t2m.h, t2m_present)."""
        with self._lock:
            present = ctypes.c_bool()
            self._call("t2m_present", index, ctypes.byref(present))
            return present.value

    def swap_head(self, head: bytes | None) -> None:
        """Puts a .t2mh file's head in place of the current one; None: the model's own head again.

        Raises:
            CoreError: broken, for another backbone or precision, or larger than the arena has room for; the current
                head stays.
        """
        copy = None if head is None else _aligned_copy(head)
        with self._lock:
            self._call("t2m_swap_head", None if copy is None else copy.ctypes.data, 0 if copy is None else copy.size)
            self._head = copy

    def close(self) -> None:
        """Gives the memory back; every later call raises InputError."""
        with self._lock:
            self._handle = self._head = None
            self._file = self._arena = _aligned(0)

    def __enter__(self) -> CoreModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> ctypes.c_void_p:
        if self._handle is None:
            raise InputError("the model was closed; load it again")
        return self._handle

    def _call(self, name: str, *arguments: Any) -> None:
        _check(self._library, getattr(self._library, name)(self._open(), *arguments))

    def _input(self) -> np.ndarray:
        at = ctypes.cast(self._library.t2m_input(self._open()), ctypes.POINTER(ctypes.c_uint8))
        return np.ctypeslib.as_array(at, (self.height, self.width, 3))

    def _run(self, image: np.ndarray | None) -> None:
        if image is not None:
            target = self._input()
            if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[-3:] != target.shape:
                raise InputError(f"the model's input is uint8 {target.shape}; prepare the image first")
            target[:] = image.reshape(target.shape)
        self._call("t2m_run")

    def _features(self) -> np.ndarray:
        count, is_int8 = ctypes.c_uint32(), ctypes.c_bool()
        at = self._library.t2m_features(self._open(), ctypes.byref(count), ctypes.byref(is_int8))
        if not at:
            raise CoreError(_NOT_RUN, "there are no features yet; run the model first")
        kind = ctypes.c_int8 if is_int8.value else ctypes.c_float
        return np.ctypeslib.as_array(ctypes.cast(at, ctypes.POINTER(kind)), (count.value,)).copy()

    def _scores(self) -> np.ndarray:
        at = self._library.t2m_scores(self._open())
        if not at:
            raise CoreError(_NOT_RUN, "there are no scores: run the model first, and swap a head into a backbone")
        count = self._library.t2m_label_count(self._handle)
        return np.ctypeslib.as_array(ctypes.cast(at, ctypes.POINTER(ctypes.c_float)), (count,)).copy()
