"""A model that is ready to be measured in this process: one of ours, or any other .tflite or .onnx with one input."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from t2m_runtime.artifact import cut_short, kind_of, manifest_of, read_bytes
from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import is_whole

FRAME = (480, 640)


@dataclass(frozen=True)
class Facts:
    """What a file says about itself without being loaded. classes, precision: None where it is none of ours."""

    kind: str
    ours: bool
    size_bytes: int
    classes: int | None = None
    precision: str | None = None
    labels: tuple[str, ...] = ()
    input: tuple[int, int] | None = None
    crop: str | None = None


def facts(path: Path) -> Facts:
    """Of a model file.

    Raises:
        InputError: no such file, neither a .tflite nor an .onnx, or cut short.
    """
    data = read_bytes(path)
    kind = kind_of(data)
    if kind not in ("tflite", "onnx"):
        raise InputError(f"{path} is neither a .tflite nor an .onnx model; give a file that t2m-edge compile wrote")
    if kind == "tflite" and not is_whole(data):
        raise cut_short(str(path))
    if not has_manifest(data, kind):
        return Facts(kind, False, len(data))
    found = manifest_of(data, str(path))
    size = (found.input.height, found.input.width)
    return Facts(kind, True, len(data), len(found.labels), found.precision, found.labels, size, found.input.crop)


def has_manifest(data: bytes, kind: str) -> bool:
    """Whether t2m-edge made a model: a damaged manifest counts, so that its damage is told."""
    from t2m_runtime.artifact import ONNX_KEY, TFLITE_MEMBER

    return (TFLITE_MEMBER if kind == "tflite" else ONNX_KEY).encode() in data


@dataclass
class Subject:
    """run: one inference of a fixed noise image; prepare, classify: of a fixed camera frame, None for foreign models;
    name: prepared image uint8 (height, width, 3) -> index of the best label."""

    engine: str
    run: Callable[[], Any]
    prepare: Callable[[], Any] | None = None
    classify: Callable[[], Any] | None = None
    name: Callable[[np.ndarray], int] | None = None
    close: Callable[[], None] = field(default=lambda: None)


def import_engine(path: Path, engine: str | None) -> None:
    """Imports what load will need, so that importing packages is not taken for loading a model."""
    tflite = facts(path).kind == "tflite"
    packages = {"tflite_runtime": "tflite_runtime.interpreter", "core": "t2m_runtime.core"}
    package = packages.get(engine or "", "ai_edge_litert.interpreter" if tflite else "onnxruntime")
    ours = "t2m_runtime.engines.litert" if tflite else "t2m_runtime.engines.onnxruntime"
    for name in ("numpy.random", "t2m_runtime.classifier", ours, package):
        with contextlib.suppress(ImportError):  # load tells it
            import_module(name)


def load(path: Path, engine: str | None, threads: int) -> Subject:
    """Loads a model and its engine.

    Raises:
        InputError: broken, or the engine is not installed or cannot run it.
    """
    data = read_bytes(path)
    kind = kind_of(data)
    if kind is not None and not has_manifest(data, kind):
        return _foreign_tflite(data, path, engine, threads) if kind == "tflite" else _foreign_onnx(data, path, threads)
    from t2m_runtime import Classifier, prepare

    classifier = Classifier.load(data, engine=engine, num_threads=threads)
    spec, rng = classifier.manifest.input, np.random.default_rng(0)
    image = rng.integers(0, 256, (1, spec.height, spec.width, 3), np.uint8)
    frame = rng.integers(0, 256, (*FRAME, 3), np.uint8)
    execute = classifier.engine.run
    return Subject(
        engine=f"{classifier.engine.name} {classifier.engine.version}",
        run=lambda: execute(image),
        prepare=lambda: prepare(frame, spec.height, spec.width, spec.crop),
        classify=lambda: classifier.classify(frame),
        name=lambda picture: int(classifier.scores(picture).argmax()),
        close=classifier.close,
    )


def _foreign_tflite(data: bytes, path: Path, engine: str | None, threads: int) -> Subject:
    if engine not in (None, "litert"):
        raise InputError(
            f"{path.name} was not made by t2m-edge: of .tflite models only LiteRT measures it, not {engine}"
        )
    try:
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter

        from t2m_runtime.engines.litert import without_announcement

        with without_announcement():
            interpreter = Interpreter(model_content=data, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"LiteRT cannot load {path.name} ({' '.join(str(error).split())[:200]})") from None
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], _noise(detail["shape"], detail["dtype"]))
    detail = interpreter.get_input_details()[0]
    noise, output = _noise(detail["shape"], detail["dtype"]), interpreter.get_output_details()[0]["index"]

    def run() -> Any:
        interpreter.set_tensor(detail["index"], noise)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return Subject(f"litert {ai_edge_litert.__version__}", run)


def _foreign_onnx(data: bytes, path: Path, threads: int) -> Subject:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise InputError(f"ONNX Runtime cannot load {path.name} ({' '.join(str(error).split())[:200]})") from None
    types = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8}
    feed = {}
    for end in session.get_inputs():
        if end.type not in types:
            raise InputError(f"{path.name} has an input of {end.type}; expected float, uint8 or int8")
        feed[end.name] = _noise([d if isinstance(d, int) else 1 for d in end.shape], types[end.type])
    return Subject(f"onnxruntime {onnxruntime.__version__}", lambda: session.run(None, feed))


def _noise(shape: Any, dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(0)
    sides = [max(1, int(side)) for side in shape]
    if np.issubdtype(dtype, np.floating):
        return rng.uniform(-1, 1, sides).astype(dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    return rng.integers(max(low, -128), min(high, 255) + 1, sides).astype(dtype)
