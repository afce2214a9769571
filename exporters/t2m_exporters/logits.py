"""Logits of a cut model from elsewhere on its own engine, for comparing a model before and after a change."""

from __future__ import annotations

import numpy as np

from t2m_runtime.errors import InputError

MAX_INPUT = 2**26
"""Most numbers in an input: a 4,096 x 4,096 colour image."""


def random_inputs(model: bytes, kind: str, count: int) -> list[np.ndarray]:
    """Inputs of noise in the shape and type that a model takes, open dimensions 1."""
    if kind == "tflite":
        detail = _interpreter(model).get_input_details()[0]
        shape, dtype = [int(n) for n in detail["shape"]], np.dtype(detail["dtype"])
    else:
        found = _session(model).get_inputs()[0]
        shape = [n if isinstance(n, int) else 1 for n in found.shape]
        names = {
            "tensor(float)": "float32",
            "tensor(float16)": "float16",
            "tensor(uint8)": "uint8",
            "tensor(int8)": "int8",
        }
        if found.type not in names:
            raise InputError(f"the model's input is {found.type}; expected one image")
        dtype = np.dtype(names[found.type])
    if not 1 <= np.prod(shape, dtype=np.float64) <= MAX_INPUT:
        raise InputError(f"the model's input has shape {tuple(shape)}; expected one image")
    rng = np.random.default_rng(0)
    if dtype.kind == "f":
        return [rng.normal(size=shape).astype(dtype) for _ in range(count)]
    ends = np.iinfo(dtype)
    return [rng.integers(ends.min, ends.max, shape, dtype, endpoint=True) for _ in range(count)]


def run_logits(model: bytes, kind: str, inputs: list[np.ndarray]) -> np.ndarray:
    """(n, k) in the type that the model's output has."""
    if kind == "tflite":
        interpreter = _interpreter(model)
        source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
        found = []
        for x in inputs:
            interpreter.set_tensor(source, x)
            interpreter.invoke()
            found.append(interpreter.get_tensor(result).reshape(-1))
        return np.stack(found)
    session = _session(model)
    name = session.get_inputs()[0].name
    return np.stack([session.run(None, {name: x})[0].reshape(-1) for x in inputs])


def _interpreter(model: bytes):  # noqa: ANN202
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _session(model: bytes):  # noqa: ANN202
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
