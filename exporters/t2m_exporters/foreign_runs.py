"""Runs classifiers from elsewhere, and parts of them, on their own engines."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from t2m_runtime.engines.litert import without_announcement
from t2m_runtime.errors import InputError, WorkError

MAX_INPUT = 2**26
"""Most numbers in an input: a colour image of 4,096 x 4,096."""
_ONNX_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}


class Input(NamedTuple):
    """What a model takes: shape with open dimensions 1, dtype, and scale and zero point of an integer (0: none)."""

    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float
    zero_point: int

    def noise(self, count: int) -> list[np.ndarray]:
        """Inputs of noise."""
        rng = np.random.default_rng(0)
        if self.dtype.kind == "f":
            return [rng.normal(size=self.shape).astype(self.dtype) for _ in range(count)]
        ends = np.iinfo(self.dtype)
        return [rng.integers(ends.min, ends.max, self.shape, self.dtype, endpoint=True) for _ in range(count)]

    def photos(self, images: np.ndarray) -> list[np.ndarray] | None:
        """uint8 (n, h, w, 3) in the form that the model takes, or None where it does not take colour images.

        Integers get the pixels over their whole range; floats get them from -1 to 1, the model's own normalisation
        being unknown.
        """
        from PIL import Image

        if len(self.shape) != 4 or 3 not in (self.shape[1], self.shape[3]):
            return None
        last = self.shape[3] == 3
        height, width = self.shape[1:3] if last else self.shape[2:]
        if min(height, width) < 8:
            return None
        found = []
        for image in images:
            pixels = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
            pixels = pixels if last else pixels.transpose(2, 0, 1)
            if self.dtype.kind == "f":
                pixels = ((pixels - np.float32(127.5)) / np.float32(127.5)).astype(self.dtype)
            elif self.dtype == np.int8:
                pixels = (pixels.astype(np.int16) - 128).astype(np.int8)
            found.append(np.ascontiguousarray(pixels)[np.newaxis])
        return found


class Runner:
    """A model with one input and one output on LiteRT or ONNX Runtime.

    Raises:
        InputError: its input is no array of a type and size that an image has.
        WorkError: the engine refuses it.
    """

    def __init__(self, model: bytes, kind: str) -> None:
        try:
            self._engine = _interpreter(model) if kind == "tflite" else _session(model)
        except Exception as error:
            raise _refused(error) from None
        self._tflite = kind == "tflite"
        if self._tflite:
            detail = self._engine.get_input_details()[0]
            scale, zero_point = detail["quantization"]
            shape = tuple(int(n) for n in detail["shape"])
            self.input = Input(shape, np.dtype(detail["dtype"]), float(scale), int(zero_point))
        else:
            found = self._engine.get_inputs()[0]
            if found.type not in _ONNX_TYPES:
                raise InputError(f"the model's input is {found.type}; expected one image")
            shape = tuple(n if isinstance(n, int) and n > 0 else 1 for n in found.shape)
            self.input = Input(shape, np.dtype(_ONNX_TYPES[found.type]), 0.0, 0)
        if not 1 <= np.prod(self.input.shape, dtype=np.float64) <= MAX_INPUT:
            raise InputError(f"the model's input has shape {self.input.shape}; expected one image")

    def run(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Real values of the output for each input: float64 (n, d)."""
        try:
            return np.stack([self._one(x) for x in inputs])
        except Exception as error:
            raise _refused(error) from None

    def _one(self, x: np.ndarray) -> np.ndarray:
        engine = self._engine
        if not self._tflite:
            return engine.run(None, {engine.get_inputs()[0].name: x})[0].reshape(-1).astype(np.float64)
        engine.set_tensor(engine.get_input_details()[0]["index"], x)
        engine.invoke()
        detail = engine.get_output_details()[0]
        found = engine.get_tensor(detail["index"]).reshape(-1).astype(np.float64)
        scale, zero_point = detail["quantization"]
        return (found - zero_point) * scale if scale else found


def _refused(error: Exception) -> WorkError:
    return WorkError(f"the model does not run on its engine: {' '.join(str(error).split())[:160]}")


def _interpreter(model: bytes) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    with without_announcement():
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
