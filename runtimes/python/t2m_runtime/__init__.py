"""Runs the image classifiers that t2m-edge writes: photo in, class names out.

    from t2m_runtime import Classifier

    with Classifier.load("model.tflite") as classifier:
        print(classifier.classify("photo.jpg").names[0])

numpy and Pillow are needed, and one engine: LiteRT or tflite-runtime for .tflite, ONNX Runtime for .onnx.
"""

from __future__ import annotations

from t2m_runtime.errors import InputError, WorkError

__version__ = "0.1.0"

__all__ = [
    "Backbone",
    "Classifier",
    "Head",
    "InputError",
    "Layer",
    "Manifest",
    "QuantizedHead",
    "QuantizedLayer",
    "Result",
    "WorkError",
    "available_engines",
    "load_head",
    "open_image",
    "prepare",
    "read_manifest",
    "save_head",
]

_HOMES = {
    "Backbone": "backbone",
    "Classifier": "classifier",
    "Result": "classifier",
    "Head": "head",
    "Layer": "head",
    "QuantizedHead": "head",
    "QuantizedLayer": "head",
    "Manifest": "manifest",
    "available_engines": "engines",
    "load_head": "artifact",
    "read_manifest": "artifact",
    "save_head": "artifact",
    "open_image": "preparation",
    "prepare": "preparation",
}


def __getattr__(name: str) -> object:
    # Imported on first use: a program that only reads manifests does not pay for the rest.
    if name not in _HOMES:
        raise AttributeError(f"module 't2m_runtime' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"t2m_runtime.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
