"""LiteRT's own profiler, which its Python package has no door to: through the C functions of its libLiteRt.so.

Like runtimes/c/engines/litert.c, for LiteRT 2.2 and later; the declarations are our own, for no package ships headers.
XNNPACK's operators are those that it really runs: merged, split or added ones have no tensor's name.
"""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from t2m_runtime.errors import WorkError

Times = tuple[tuple[str, str, float], ...]

LIBRARIES = ("libLiteRt.so", "libLiteRt.dylib")
CPU, LOCK_WRITE = 1, 1
OPERATOR, XNNPACK_OPERATOR = 2, 8
"""event_type of one operator's run; others are sums of such, or notes without a time."""
KINDS = {1 << bit for bit in range(16)}
EVENT_BYTES = 256
"""More than a version's event has. Its first fields: const char *tag; int event_type; uint64 start_us, elapsed_us; the
operator's number and what follows moved between versions and is not read."""
ANY_BYTE = 0xA5
WARM_RUNS = 5
LEAST_COVERED = 0.5
"""Of the model's own time, below which the events cannot be all of it."""


class NoProfiler(Exception):
    """This LiteRT has no profiler that is known here."""


def profile(model: Path, threads: int, rounds: int, reference: bool = False) -> Times:
    """(its place in the order of running, what ran, seconds): the mean over the faster half of the rounds.

    LiteRT counts whole microseconds, cut off: an operator that takes less than one has 0.

    Raises:
        NoProfiler: no LiteRT of 2.2 or later, or its events are not as expected.
    """
    library = _library()
    try:
        with _Compiled(library, model, threads, reference) as compiled:
            compiled.fill_inputs()
            return _summary(compiled.rounds(rounds))
    except (WorkError, AttributeError) as error:
        raise NoProfiler(str(error)) from None


@dataclass(frozen=True)
class _Round:
    """One run of the model: (what ran, microseconds) of each operator, and of the whole."""

    operators: list[tuple[str, int]]
    whole: int


def _summary(rounds: list[_Round]) -> Times:
    tags = [tag for tag, _ in rounds[0].operators]
    if any([tag for tag, _ in found.operators] != tags for found in rounds):
        raise NoProfiler("its rounds differ")
    times = np.array([[took for _, took in found.operators] for found in rounds]) / 1e6
    whole = times.sum(axis=1)
    if np.median(whole) < LEAST_COVERED * np.median([found.whole for found in rounds]) / 1e6:
        raise NoProfiler("its events are not the whole model")
    means = times[whole <= np.median(whole)].mean(axis=0)
    return tuple(
        (f"{i} of {len(tags)}", tag, float(t)) for i, (tag, t) in enumerate(zip(tags, means, strict=True), start=1)
    )


def _library() -> ctypes.CDLL:
    found = find_spec("ai_edge_litert")
    folder = Path(found.origin).parent if found and found.origin else Path()
    path = next((folder / name for name in LIBRARIES if (folder / name).is_file()), None)
    if path is None:
        raise NoProfiler(f"no {LIBRARIES[0]}")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise NoProfiler(str(error)) from None
    for name in ("LiteRtBuilderBuildTensor", "LiteRtCompiledModelGetProfiler", "LiteRtGetProfilerEvents"):
        if not hasattr(library, name):
            raise NoProfiler(f"it lacks {name}")
    return library


class _Compiled:
    """A model compiled with profiling on, its buffers, and what must be given back."""

    def __init__(self, library: ctypes.CDLL, model: Path, threads: int, reference: bool) -> None:
        self._library = library
        self._destroy: list[tuple[str, ctypes.c_void_p]] = []
        self._environment = self._made("LiteRtCreateEnvironment", 0, None, destroy="LiteRtDestroyEnvironment")
        self._model = self._made(
            "LiteRtCreateModelFromFile", self._environment, str(model).encode(), destroy="LiteRtDestroyModel"
        )
        options = self._made("LiteRtCreateOptions", destroy="LiteRtDestroyOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        kernels = 'kernel_mode = "reference"\n' if reference else ""
        for name, text in (
            ("xnnpack", f"num_threads = {threads}\n{kernels}"),
            ("runtime_options_string", "enable_profiling = true\n"),
        ):
            self._call("LiteRtAddOpaqueOptions", options, self._opaque(name, text))
        self._compiled = self._made(
            "LiteRtCreateCompiledModel", self._environment, self._model, options, destroy="LiteRtDestroyCompiledModel"
        )
        self._profiler = self._made("LiteRtCompiledModelGetProfiler", self._compiled)
        if not self._profiler:
            raise NoProfiler("it gives none for the model")
        signature = self._made("LiteRtGetModelSignature", self._model, ctypes.c_size_t(0))
        self._inputs, self._outputs = (self._buffers(signature, side) for side in ("Input", "Output"))

    def __enter__(self) -> _Compiled:
        return self

    def __exit__(self, *_: object) -> None:
        for name, thing in reversed(self._destroy):
            getattr(self._library, name)(thing)

    def _call(self, name: str, *arguments: object) -> None:
        if status := getattr(self._library, name)(*arguments):
            raise WorkError(f"{name} gives {status}")

    def _made(self, name: str, *arguments: object, destroy: str | None = None) -> ctypes.c_void_p:
        thing = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(thing))
        if destroy:
            self._destroy.append((destroy, thing))
        return thing

    def _opaque(self, name: str, text: str) -> ctypes.c_void_p:
        """Options by name, as TOML; LiteRT frees the text."""
        libc = ctypes.CDLL(None)
        libc.strdup.restype = ctypes.c_void_p
        copy, free = ctypes.c_void_p(libc.strdup(text.encode())), ctypes.cast(libc.free, ctypes.c_void_p)
        return self._made("LiteRtCreateOpaqueOptions", name.encode(), copy, free)

    def _buffers(self, signature: ctypes.c_void_p, side: str) -> list[ctypes.c_void_p]:
        count = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{side}s", signature, ctypes.byref(count))
        buffers, first = [], ctypes.c_size_t(0)
        for i in range(count.value):
            number = ctypes.c_size_t(i)
            tensor = self._made(f"LiteRtGetSignature{side}TensorByIndex", signature, number)
            kind = (ctypes.c_int32 * EVENT_BYTES)()  # larger than any version's
            self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
            needs = self._made(f"LiteRtGetCompiledModel{side}BufferRequirements", self._compiled, first, number)
            make = "LiteRtCreateManagedTensorBufferFromRequirements"
            destroy = "LiteRtDestroyTensorBuffer"
            buffers.append(self._made(make, self._environment, ctypes.byref(kind), needs, destroy=destroy))
        return buffers

    def fill_inputs(self) -> None:
        """Bytes of noise whose floats are finite."""
        for buffer in self._inputs:
            size, at = ctypes.c_size_t(), ctypes.c_void_p()
            self._call("LiteRtGetTensorBufferPackedSize", buffer, ctypes.byref(size))
            self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(at), LOCK_WRITE)
            noise = np.random.default_rng(0).integers(0, 64, size.value, np.uint8).tobytes()
            ctypes.memmove(at, noise, size.value)
            self._call("LiteRtUnlockTensorBuffer", buffer)

    def _run(self) -> None:
        inputs, outputs = ((ctypes.c_void_p * len(b))(*b) for b in (self._inputs, self._outputs))
        sizes = (ctypes.c_size_t(len(inputs)), ctypes.c_size_t(len(outputs)))
        self._call("LiteRtRunCompiledModel", self._compiled, ctypes.c_size_t(0), sizes[0], inputs, sizes[1], outputs)

    def rounds(self, times: int) -> list[_Round]:
        """Runs the model, and reads what each run left in the profiler."""
        for _ in range(WARM_RUNS):
            self._run()
        found = []
        for _ in range(times):
            self._call("LiteRtResetProfiler", self._profiler)
            self._call("LiteRtStartProfiler", self._profiler)
            self._run()
            self._call("LiteRtStopProfiler", self._profiler)
            count = ctypes.c_int()
            self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
            size = count.value * EVENT_BYTES
            raw = ctypes.create_string_buffer(bytes([ANY_BYTE]) * size, size)
            self._call("LiteRtGetProfilerEvents", self._profiler, count, raw)
            found.append(_read(raw.raw, count.value))
        return found


def _read(raw: bytes, count: int) -> _Round:
    """The operators among the events; how long one is in this version shows in how much was written.

    Raises:
        NoProfiler: the events have another form.
    """
    size = -(-len(raw.rstrip(bytes([ANY_BYTE]))) // max(1, count) // 8) * 8
    if not 32 <= size < EVENT_BYTES:
        raise NoProfiler("its events have another form")
    events = [struct.unpack_from("<Qi4xQQ", raw, i * size) for i in range(count)]
    if any(not tag or kind not in KINDS for tag, kind, _, _ in events):
        raise NoProfiler("its events have another form")
    named = [(ctypes.string_at(tag).decode("utf-8", "replace"), kind, took) for tag, kind, _, took in events]
    operators = [(tag, took) for tag, kind, took in named if kind in (OPERATOR, XNNPACK_OPERATOR)]
    return _Round(operators, sum(took for tag, kind, took in named if tag == "Invoke" and kind == 1))
