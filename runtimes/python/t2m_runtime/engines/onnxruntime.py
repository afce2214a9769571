"""Runs an .onnx with ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from t2m_runtime.errors import InputError, WorkError
from t2m_runtime.head import MAX_FEATURES
from t2m_runtime.preparation import MAX_SIDE

_FATAL = 4
_OUTPUTS = ("tensor(float)", "tensor(uint8)", "tensor(int8)")


class OnnxRuntimeEngine:
    """One loaded .onnx model: one uint8 (1, H, W, 3) input, one (1, k) output.

    Args:
        package: the imported onnxruntime.
        model: the whole file.
        version: of the package.
        num_threads: inside one operator.
        quantization: scale and zero point of an integer output, which ONNX itself has no place for.

    Raises:
        InputError: the package cannot load the model, or it has other inputs and outputs than an artifact.
    """

    def __init__(
        self,
        package: Any,
        model: bytes,
        *,
        version: str,
        num_threads: int = 1,
        quantization: tuple[float, int] = (1.0, 0),
    ) -> None:
        self.name, self.version = "onnxruntime", version
        options = package.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        # What goes wrong comes back as an exception; the library would also print it.
        options.log_severity_level = _FATAL
        try:
            # There is nothing to fall back to, and the library would print that it tries.
            session = package.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:  # the package has its own exception classes, one for each status
            raise InputError(
                f"onnxruntime {version} cannot load the model ({_one_line(error)}); make it again"
            ) from error
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(f"the model has {len(inputs)} inputs and {len(outputs)} outputs; expected one of each")
        shape, scores = inputs[0].shape, outputs[0].shape
        fixed = len(shape) == 4 and all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in shape)
        if inputs[0].type != "tensor(uint8)" or not fixed or shape[0] != 1 or shape[3] != 3:
            raise InputError(f"the model's input is {inputs[0].type} {shape}; expected uint8 (1, height, width, 3)")
        fixed = len(scores) == 2 and all(isinstance(side, int) for side in scores)
        if outputs[0].type not in _OUTPUTS or not fixed or scores[0] != 1 or not 1 <= scores[1] <= MAX_FEATURES:
            raise InputError(
                f"the model's output is {outputs[0].type} {scores}; expected float32, uint8 or int8 (1, labels)"
            )
        self.height, self.width, self.n_outputs = shape[1], shape[2], scores[1]
        self._input, self._output = inputs[0].name, outputs[0].name
        self._quantization = quantization
        self._session: Any = session

    def run(self, image: np.ndarray) -> np.ndarray:
        """uint8 (1, height, width, 3) -> float32 (n_outputs,); integer outputs are dequantised.

        Raises:
            InputError: an image of another shape or dtype, or the engine was closed.
            WorkError: the engine failed.
        """
        expected = (1, self.height, self.width, 3)
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape != expected:
            raise InputError(f"the model's input is uint8 {expected}; prepare the image first")
        session = self._session
        if session is None:
            raise InputError("the model was closed; load it again")
        try:
            output = session.run([self._output], {self._input: image})[0]
        except Exception as error:
            raise WorkError(f"onnxruntime {self.version} failed on the image ({_one_line(error)})") from error
        if output.shape != (1, self.n_outputs):
            raise WorkError(f"the model gave {output.shape} outputs and promised {(1, self.n_outputs)}; make it again")
        if output.dtype == np.float32:
            return output[0]
        scale, zero_point = self._quantization
        return (output[0].astype(np.float32) - np.float32(zero_point)) * np.float32(scale)

    def close(self) -> None:
        """Gives the model's memory back; run raises InputError from then on."""
        self._session = None


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:300] or type(error).__name__
