"""Runs a .tflite with LiteRT, or with its predecessor tflite-runtime: both have the same Interpreter."""

from __future__ import annotations

import contextlib
import math
import os
import threading
from typing import Any, BinaryIO, Iterator

import numpy as np

from t2m_runtime.errors import InputError, WorkError
from t2m_runtime.head import MAX_FEATURES
from t2m_runtime.preparation import MAX_SIDE
from t2m_runtime.tflite_file import check_model

MAX_TENSOR_BYTES = 2**30
"""Most memory that a model's tensors may claim together."""

_announcing = threading.Lock()
_announced = False


class LiteRTEngine:
    """One loaded .tflite model: one uint8 (1, H, W, 3) input, one (1, k) output.

    Args:
        package: the imported module that has Interpreter.
        model: the whole file.
        name: of the engine; "litert-reference" takes the reference kernels.
        version: of the package.
        num_threads: for the kernels that can use several.
        trusted: whether this process wrote the model: a damaged one can crash the package, and is not looked for.

    Raises:
        InputError: the package cannot load the model, or it has other inputs and outputs than an artifact.
    """

    def __init__(
        self, package: Any, model: bytes, *, name: str, version: str, num_threads: int = 1, trusted: bool = False
    ) -> None:
        self.name, self.version = name, version
        options = {}
        if name == "litert-reference":
            options["experimental_op_resolver_type"] = package.OpResolverType.BUILTIN_REF
        if not trusted:
            check_model(model)
        try:
            with without_announcement() if name != "litert-reference" else contextlib.nullcontext():
                interpreter = package.Interpreter(model_content=model, num_threads=num_threads, **options)
                # Everything that can be checked is checked before memory is claimed.
                if not trusted:
                    _check_claims(interpreter.get_tensor_details())
                self._bind(interpreter.get_input_details(), interpreter.get_output_details())
                interpreter.allocate_tensors()
        except InputError:
            raise
        except Exception as error:  # ValueError, RuntimeError, and what a package built for another numpy raises
            raise InputError(f"{name} {version} cannot load the model ({_one_line(error)}); make it again") from error
        self._interpreter: Any = interpreter
        self._lock = threading.Lock()

    def _bind(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Checks the model's input and output, and remembers what run needs of them."""
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(f"the model has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each")
        shape, dtype = tuple(int(side) for side in inputs[0]["shape"]), np.dtype(inputs[0]["dtype"])
        fits = len(shape) == 4 and shape[0] == 1 and shape[3] == 3 and all(1 <= side <= MAX_SIDE for side in shape)
        if dtype != np.uint8 or not fits:
            raise InputError(f"the model's input is {dtype} {shape}; expected uint8 (1, height, width, 3)")
        scores = tuple(int(side) for side in outputs[0]["shape"])
        if len(scores) != 2 or scores[0] != 1 or not 1 <= scores[1] <= MAX_FEATURES:
            raise InputError(f"the model's output has shape {scores}; expected (1, labels)")
        self._output_dtype = np.dtype(outputs[0]["dtype"])
        if self._output_dtype not in (np.float32, np.uint8, np.int8):
            raise InputError(f"the model's output is {self._output_dtype}; expected float32, uint8 or int8")
        self.height, self.width, self.n_outputs = shape[1], shape[2], scores[1]
        self._scale, self._zero_point = outputs[0]["quantization"]
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]

    def run(self, image: np.ndarray) -> np.ndarray:
        """uint8 (1, height, width, 3) -> float32 (n_outputs,); integer outputs are dequantised.

        Raises:
            InputError: an image of another shape or dtype, or the engine was closed.
            WorkError: the engine failed.
        """
        expected = (1, self.height, self.width, 3)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != expected:
            raise InputError(f"the model's input is uint8 {expected}; prepare the image first")
        with self._lock:
            if self._interpreter is None:
                raise InputError("the model was closed; load it again")
            try:
                self._interpreter.set_tensor(self._input, np.ascontiguousarray(image))
                self._interpreter.invoke()
                output = self._interpreter.get_tensor(self._output)
            except Exception as error:
                raise WorkError(f"{self.name} {self.version} failed on the image ({_one_line(error)})") from error
        if output.shape != (1, self.n_outputs):
            raise WorkError(f"the model gave {output.shape} outputs and promised {(1, self.n_outputs)}; make it again")
        scores = output[0].astype(np.float32)
        if self._output_dtype == np.float32:
            return scores
        return (scores - np.float32(self._zero_point)) * np.float32(self._scale)

    def close(self) -> None:
        """Gives the model's memory back; run raises InputError from then on."""
        with self._lock:
            self._interpreter = None


def _check_claims(tensors: list[dict[str, Any]]) -> None:
    """Refuses a model whose tensors together claim more than MAX_TENSOR_BYTES, before they are allocated."""
    total = 0
    for tensor in tensors:
        sides = [int(side) for side in tensor["shape"]]
        if any(side < 0 for side in sides):
            raise InputError("the model has a tensor whose size is not fixed; make it again")
        total += math.prod(sides) * np.dtype(tensor["dtype"]).itemsize
    if total > MAX_TENSOR_BYTES:
        raise InputError(f"the model's tensors claim {total} bytes; expected at most {MAX_TENSOR_BYTES}")


@contextlib.contextmanager
def without_announcement() -> Iterator[None]:
    """Keeps the library's line "INFO: Created TensorFlow Lite XNNPACK delegate for CPU." off standard error.

    The library has no switch for it and writes it from C, once in a process: so loads have file descriptor 2 pointed
    at a buffer until the line has come, one load at a time. Everything else written meanwhile is passed on.
    """
    global _announced
    with _announcing:
        redirected = None if _announced else _redirect()
        if redirected is not None:
            buffer, stderr = redirected
            try:
                yield
            finally:
                os.dup2(stderr, 2)
                os.close(stderr)
                with buffer:
                    buffer.seek(0)
                    for line in buffer:
                        if line.startswith(b"INFO: Created TensorFlow Lite XNNPACK delegate"):
                            _announced = True
                        else:
                            _write(line)
            return
    yield


def _redirect() -> tuple[BinaryIO, int] | None:
    """(buffer, a copy of standard error), with descriptor 2 pointed at the buffer; None where that cannot be done."""
    try:
        stderr = os.dup(2)
    except OSError:  # standard error is closed
        return None
    try:
        if hasattr(os, "memfd_create"):
            buffer: Any = open(os.memfd_create("stderr"), "w+b")  # noqa: SIM115 (the caller closes it)
        else:
            import tempfile

            buffer = tempfile.TemporaryFile()  # noqa: SIM115
    except OSError:  # nowhere to write
        os.close(stderr)
        return None
    os.dup2(buffer.fileno(), 2)
    return buffer, stderr


def _write(line: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(2, line)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__
