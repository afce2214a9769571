"""What each operator of a model takes: from ONNX Runtime's own profile, or by cutting a .tflite behind each operator.

LiteRT's Python package gives no profile. A model cut behind an operator runs everything up to it, on the same kernels;
the time of an operator is the difference of two such models, the least of many rounds in which they take turns.
"""

from __future__ import annotations

import json
import struct
import tempfile
import time
from pathlib import Path

import numpy as np

from t2m_runtime.artifact import kind_of, read_bytes
from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import check_model, read_operator, read_tensor

ROUNDS = 60
MAX_OPERATORS = 400

Profile = tuple[tuple[str, str, float], ...]


def profile(path: Path, threads: int = 1) -> Profile:
    """(operator, its kind, seconds) in the order in which they run.

    Raises:
        InputError: the model cannot be profiled.
    """
    data = read_bytes(path)
    return _onnx(data, threads) if kind_of(data) == "onnx" else _tflite(data, threads)


def _onnx(data: bytes, threads: int) -> Profile:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level, options.enable_profiling = threads, 4, True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        end = session.get_inputs()[0]
        dtype = np.uint8 if end.type == "tensor(uint8)" else np.float32
        image = np.random.default_rng(0).integers(0, 256, [d if isinstance(d, int) else 1 for d in end.shape])
        for _ in range(ROUNDS):
            session.run(None, {end.name: image.astype(dtype)})
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    times: dict[tuple[str, str], list[float]] = {}
    for event in events:
        name = event.get("name", "")
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            key = (name.removesuffix("_kernel_time"), event["args"]["op_name"])
            times.setdefault(key, []).append(event["dur"] / 1e6)
    return tuple((name, kind, float(np.median(t))) for (name, kind), t in times.items())


def _tflite(data: bytes, threads: int) -> Profile:
    from ai_edge_litert.interpreter import Interpreter

    rng = np.random.default_rng(0)
    interpreters, names = [], []
    for name, cut in cuts(data):
        interpreter = Interpreter(model_content=cut, num_threads=threads)
        interpreter.allocate_tensors()
        detail = interpreter.get_input_details()[0]
        interpreter.set_tensor(detail["index"], rng.integers(0, 256, detail["shape"]).astype(detail["dtype"]))
        interpreters.append(interpreter)
        names.append(name)
    least = [float("inf")] * len(interpreters)
    for _ in range(ROUNDS):
        for i, interpreter in enumerate(interpreters):
            interpreter.invoke()
            began = time.perf_counter()
            interpreter.invoke()
            least[i] = min(least[i], time.perf_counter() - began)
    found, before = [], 0.0
    for (name, kind), until in zip(names, least, strict=True):
        found.append((name, kind, max(0.0, until - before)))
        before = max(before, until)
    return tuple(found)


def cuts(model: bytes) -> list[tuple[tuple[str, str], bytes]]:
    """((result and its shape, kind), the model cut behind it) for each operator of a .tflite, in order."""
    tables, found = check_model(model), []
    if len(tables.operators) > MAX_OPERATORS:
        raise InputError(f"the model has {len(tables.operators)} operators; at most {MAX_OPERATORS} are profiled")
    for count, position in enumerate(tables.operators, start=1):
        code, _, results = read_operator(model, position)
        tensor = read_tensor(model, tables.tensors[results[0]])
        cut = bytearray(model)
        struct.pack_into("<I", cut, tables.operators_at, count)
        struct.pack_into("<i", cut, tables.outputs_at + 4, results[0])
        builtin = tables.operator_codes[code][0]
        what = f"{tensor.name} {'x'.join(map(str, tensor.shape[1:]))}".strip()
        found.append(((what, KINDS.get(builtin, f"operator {builtin}")), bytes(cut)))
    return found


KINDS = {
    0: "ADD", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 11: "L2_NORMALIZATION",
    14: "LOGISTIC", 17: "MAX_POOL_2D", 1: "AVERAGE_POOL_2D", 18: "MUL", 22: "RESHAPE", 25: "SOFTMAX", 34: "PAD",
    40: "MEAN", 41: "SUB", 114: "QUANTIZE",
}  # fmt: skip
"""TensorFlow Lite's schema.fbs, BuiltinOperator."""
