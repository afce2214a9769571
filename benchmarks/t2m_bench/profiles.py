"""What each operator of a model takes: from the engine's own profiler, or by cutting a .tflite behind each operator.

A model cut behind an operator runs everything up to it, on the same kernels; the time of an operator is the difference
of two such models, the least of many rounds in which they take turns. That is for LiteRT before 2.2, tflite-runtime,
and models that LiteRT's compiled-model functions do not take.
"""

from __future__ import annotations

import json
import platform
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from t2m_bench import litert_profiler
from t2m_bench.board.building import architecture_of, board_program
from t2m_runtime.artifact import kind_of, read_bytes
from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import check_model, read_operator, read_tensor

ROUNDS = 60
MAX_OPERATORS = 400

CORE = "the C core, each step timed"
CUT = "the model cut behind each operator"


@dataclass(frozen=True)
class Profile:
    """by: what measured it; operators: (operator, its kind, seconds) in the order in which they run."""

    by: str
    operators: tuple[tuple[str, str, float], ...]


def profile(path: Path, engine: str, threads: int = 1) -> Profile:
    """Of a model on an engine, by its name.

    Raises:
        InputError: the model cannot be profiled.
    """
    data = read_bytes(path)
    if kind_of(data) == "onnx":
        return Profile("ONNX Runtime's profiler", _onnx(data, threads))
    if engine == "core":
        return _core(path)
    if engine != "tflite_runtime":
        try:
            reference = engine == "litert-reference"
            return Profile("LiteRT's profiler", litert_profiler.profile(path, threads, ROUNDS, reference))
        except litert_profiler.NoProfiler:
            pass
    return Profile(CUT, _by_cutting(data, engine, threads))


def _core(path: Path) -> Profile:
    """The board program, on this machine."""
    program = board_program(architecture_of(platform.machine()))
    done = subprocess.run(
        [str(program), "milliseconds=0", f"profile={ROUNDS}", str(path)], capture_output=True, text=True
    )
    if done.returncode:
        raise InputError(f"the C core cannot profile {path.name}: {done.stderr.strip()[-200:]}")
    return core_profile(path.read_bytes(), [t / 1e9 for t in json.loads(done.stdout)[0]["profile"]])


def core_profile(model: bytes, steps: Sequence[float]) -> Profile:
    """The C core's steps (core_steps), with what each takes."""
    names = core_steps(model)
    if len(names) != len(steps):
        raise InputError(f"the C core has {len(steps)} steps for {len(names)} operators; compile the model again")
    return Profile(CORE, tuple((name, kind, t) for (name, kind), t in zip(names, steps, strict=True)))


def core_steps(model: bytes) -> list[tuple[str, str]]:
    """(result, kind) of each operator of the backbone, and at last the whole head: what profile.h calls steps."""
    operators = operators_of(model)
    features = next(
        (i for i, (name, _) in enumerate(operators) if name.split()[:1] == ["features"]), len(operators) - 1
    )
    return [*operators[: features + 1], ("the head", "all of its layers")]


def _onnx(data: bytes, threads: int) -> tuple[tuple[str, str, float], ...]:
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


def _by_cutting(data: bytes, engine: str, threads: int) -> tuple[tuple[str, str, float], ...]:
    package = import_module(f"{'tflite_runtime' if engine == 'tflite_runtime' else 'ai_edge_litert'}.interpreter")
    options: dict[str, Any] = {"num_threads": threads}
    if engine == "litert-reference":
        options["experimental_op_resolver_type"] = package.OpResolverType.BUILTIN_REF
    rng = np.random.default_rng(0)
    interpreters, names = [], []
    for name, cut in cuts(data):
        interpreter = package.Interpreter(model_content=cut, **options)
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
    """(as operators_of names it, the model cut behind it) for each operator of a .tflite, in order."""
    tables, found = check_model(model), []
    if len(tables.operators) > MAX_OPERATORS:
        raise InputError(f"the model has {len(tables.operators)} operators; at most {MAX_OPERATORS} are profiled")
    for count, (position, name) in enumerate(zip(tables.operators, operators_of(model), strict=True), start=1):
        _, _, results = read_operator(model, position)
        cut = bytearray(model)
        struct.pack_into("<I", cut, tables.operators_at, count)
        struct.pack_into("<i", cut, tables.outputs_at + 4, results[0])
        found.append((name, bytes(cut)))
    return found


def operators_of(model: bytes) -> list[tuple[str, str]]:
    """(result and its shape, kind) of each operator of a .tflite, in order."""
    tables, found = check_model(model), []
    for position in tables.operators:
        code, _, results = read_operator(model, position)
        tensor = read_tensor(model, tables.tensors[results[0]])
        builtin = tables.operator_codes[code][0]
        what = f"{tensor.name} {'x'.join(map(str, tensor.shape[1:]))}".strip()
        found.append((what, KINDS.get(builtin, f"operator {builtin}")))
    return found


KINDS = {
    0: "ADD", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 11: "L2_NORMALIZATION",
    14: "LOGISTIC", 17: "MAX_POOL_2D", 1: "AVERAGE_POOL_2D", 18: "MUL", 22: "RESHAPE", 25: "SOFTMAX", 34: "PAD",
    40: "MEAN", 41: "SUB", 114: "QUANTIZE",
}  # fmt: skip
"""TensorFlow Lite's schema.fbs, BuiltinOperator."""
