"""What executes a full model: LiteRT, tflite-runtime, ONNX Runtime or our own C core, each loaded only when it is used.

An engine is an object with

    name, version     text, for messages and reports
    height, width     of the input image
    n_outputs         number of scores
    run(image)        uint8 (1, height, width, 3) -> float32 (n_outputs,); safe to call from several threads
    close()           gives its memory back
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from t2m_runtime.errors import InputError

MAX_THREADS = 256

_REFERENCE = "litert-reference"
"""Runs LiteRT's slow reference kernels: to compare with, so never chosen by itself, nor proposed."""
# name -> (module, distribution, what pip takes to install it, kind of model)
_ENGINES = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert", "ai-edge-litert", "tflite"),
    "tflite_runtime": ("tflite_runtime.interpreter", "tflite-runtime", "tflite-runtime 'numpy<2'", "tflite"),
    "onnxruntime": ("onnxruntime", "onnxruntime", "onnxruntime", "onnx"),
    _REFERENCE: ("ai_edge_litert.interpreter", "ai-edge-litert", "ai-edge-litert", "tflite"),
}
_CORE = "core"
_DEFAULTS = {"tflite": ("litert", "tflite_runtime", _CORE), "onnx": ("onnxruntime",)}


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine works here: its version, or the reason why not (the other one is None).

    ``str()`` of it is whichever there is.
    """

    version: str | None
    reason: str | None

    def __str__(self) -> str:
        return self.version or self.reason or ""


def available_engines() -> dict[str, EngineStatus]:
    """Every engine of this runtime, by name; imports them all, which takes a fraction of a second."""
    found = {name: _status(name) for name in _ENGINES if name != _REFERENCE}
    return {**found, _CORE: _core_status()}


def load_engine(
    kind: str,
    model: bytes,
    *,
    engine: str | None = None,
    num_threads: int = 1,
    quantization: tuple[float, int] = (1.0, 0),
    trusted: bool = False,
) -> Any:
    """Makes an engine for a model.

    Args:
        kind: "tflite" or "onnx".
        model: the whole file.
        engine: "litert", "litert-reference" (slow, to compare with), "tflite_runtime", "core" or "onnxruntime"; None
            takes the first one that works for this kind.
        num_threads: 1 to MAX_THREADS; the core always takes one.
        quantization: scale and zero point of the integer output of an .onnx model, or of a backbone for the core; to
            other engines a .tflite says its own.
        trusted: whether this process wrote the model, so that nobody can have damaged it.

    Raises:
        InputError: no such engine, not installed, wrong for this kind, or it cannot load the model.
    """
    if not isinstance(num_threads, int) or isinstance(num_threads, bool) or not 1 <= num_threads <= MAX_THREADS:
        raise InputError(f"the number of threads is {num_threads!r}; give a whole number from 1 to {MAX_THREADS}")
    if engine is not None and engine not in _ENGINES and engine != _CORE:
        names = (*(name for name in _ENGINES if name != _REFERENCE), _CORE)
        raise InputError(f"there is no engine {engine!r}; give one of {', '.join(names)}")
    if engine is not None and (_ENGINES[engine][3] if engine != _CORE else "tflite") != kind:
        raise InputError(f"engine {engine} does not run .{kind} models; give one of {', '.join(_DEFAULTS[kind])}")
    names = _DEFAULTS[kind] if engine is None else (engine,)
    reasons = []
    for name in names:
        if name == _CORE:
            from t2m_runtime.core import core_path

            if engine == _CORE or core_path() is not None:
                from t2m_runtime.engines.core import CoreEngine

                return CoreEngine(model, quantization)
            continue
        module, distribution, _, _ = _ENGINES[name]
        try:
            package = import_module(module)
        except Exception as error:  # a package built for another numpy raises more than ImportError
            reasons.append(f"{distribution}: {_first_line(error)}")
            continue
        if kind == "tflite":
            from t2m_runtime.engines.litert import LiteRTEngine

            return LiteRTEngine(
                package, model, name=name, version=_version(name, package), num_threads=num_threads, trusted=trusted
            )
        from t2m_runtime.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(
            package, model, version=_version(name, package), num_threads=num_threads, quantization=quantization
        )
    packages = _ENGINES[names[0]][2]
    raise InputError(f"no engine for .{kind} models works here ({'; '.join(reasons)}); pip install {packages}")


def _status(name: str) -> EngineStatus:
    module, _, packages, _ = _ENGINES[name]
    try:
        package = import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.split(".")[0] == error.name.split(".")[0]:
            return EngineStatus(None, f"not installed; pip install {packages}")
        return EngineStatus(None, f"does not import: {_first_line(error)}")
    except Exception as error:
        return EngineStatus(None, f"does not import: {_first_line(error)}")
    return EngineStatus(_version(name, package), None)


def _core_status() -> EngineStatus:
    from t2m_runtime.core import VERSION, core_library

    try:
        core_library()
    except InputError as error:
        return EngineStatus(None, str(error))
    return EngineStatus(VERSION, None)


def _version(name: str, package: Any) -> str:
    # The attribute first: importlib.metadata takes longer to import than a small model to load.
    version = getattr(package, "__version__", None) or getattr(
        sys.modules.get(package.__name__.split(".")[0]), "__version__", None
    )
    if version is None:
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as installed

        try:
            version = installed(_ENGINES[name][1])
        except PackageNotFoundError:
            version = "unknown version"
    return str(version)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
