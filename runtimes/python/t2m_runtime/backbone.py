"""One backbone in memory, many heads on it: kilobytes to change what a device tells apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from t2m_runtime.artifact import Source, kind_of, load_head, manifest_of, name_of, read_bytes
from t2m_runtime.backbone_file import without_head
from t2m_runtime.classifier import Classifier
from t2m_runtime.engines import load_engine
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead, softmax
from t2m_runtime.manifest import Manifest
from t2m_runtime.tflite_file import Tensor


class Backbone:
    """The backbone of a full model (.tflite or .onnx), on an engine; make it with ``Backbone.load``.

    It may be used from several threads, and by several classifiers at a time. It works in a ``with`` statement.

    Attributes:
        manifest: that of the full model.
        engine: the engine that runs it; has ``name`` and ``version``.
        n_features: length of a feature vector.
    """

    def __init__(self, manifest: Manifest, engine: Any, features: Tensor) -> None:
        self.manifest = manifest
        self.engine = engine
        self.n_features = features.shape[1]
        self._features = features

    @classmethod
    def load(cls, path: Source, engine: str | None = None, num_threads: int = 1) -> Backbone:
        """Loads a full model without its head.

        Args:
            path: of a .tflite or .onnx file that t2m-edge compiled, or its bytes.
            engine, num_threads: as for ``Classifier.load``.

        Raises:
            InputError: no such file, not made by t2m-edge, broken, or no engine for it is installed.
        """
        data = read_bytes(path)
        manifest, kind = manifest_of(data, name_of(path)), kind_of(data)
        if kind not in ("tflite", "onnx"):
            raise InputError(f"{name_of(path)} is a head file without a backbone; give a full model")
        cut, features = without_head(data, kind)
        quantization = (features.scale, features.zero_point) if features.dtype == "int8" else (1.0, 0)
        loaded = load_engine(kind, cut, engine=engine, num_threads=num_threads, quantization=quantization)
        if loaded.n_outputs != features.shape[1]:
            loaded.close()
            raise InputError("the model's features have another length than it says; make it again")
        return cls(manifest, loaded, features)

    def features(self, image: np.ndarray) -> np.ndarray:
        """The feature vector of a prepared image.

        Args:
            image: uint8 (height, width, 3) or (1, height, width, 3), of exactly the model's size.

        Returns:
            (d,): int8 of an int8 model, float32 of the others.

        Raises:
            InputError: an image of another shape or dtype, or the backbone was closed.
            WorkError: the engine failed.
        """
        if isinstance(image, np.ndarray) and image.ndim == 3:
            image = image[np.newaxis]
        real = self.engine.run(image)
        if self._features.dtype == "float32":
            return real
        # The engine dequantised whole numbers; dividing gives them back.
        steps = np.rint(real / np.float32(self._features.scale)) + self._features.zero_point
        return np.clip(steps, -128, 127).astype(np.int8)

    def with_head(self, head: Source) -> Classifier:
        """A classifier of this backbone and a head file; takes well under a millisecond.

        The backbone stays usable, with other heads too, and is not closed with the classifier.

        Args:
            head: path of a .t2mh file, or its bytes.

        Raises:
            InputError: no such file, broken, or made for another backbone.
        """
        loaded, manifest = load_head(head)
        check_head(loaded, manifest, self.manifest, name_of(head))
        if isinstance(loaded, QuantizedHead) and (self._features.scale, self._features.zero_point) != (
            float(np.float32(loaded.input_scale)),
            loaded.input_zero_point,
        ):
            raise InputError(f"{name_of(head)} reads features at another scale than the model gives; compile it again")
        if loaded.n_features != self.n_features:
            raise InputError(f"{name_of(head)} reads {loaded.n_features} features; the model gives {self.n_features}")
        return Classifier(replace(manifest, input=self.manifest.input), HeadOnBackbone(self, loaded))

    def close(self) -> None:
        """Gives the engine's memory back; the backbone and classifiers on it cannot be used afterwards."""
        self.engine.close()

    def __enter__(self) -> Backbone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_head(head: Head | QuantizedHead, manifest: Manifest, model: Manifest, name: str) -> None:
    """Raises InputError unless a head was made for the backbone of a full model.

    Args:
        manifest: of the head; model: of the full model.
        name: of the head, for messages.
    """
    int8 = isinstance(head, QuantizedHead)
    if int8 != (model.precision == "int8"):
        raise InputError(
            f"{name} is {'an int8' if int8 else 'a float'} head and the model is {model.precision}; "
            f"compile the head with --precision {'fp32' if int8 else 'int8'}"
        )
    if manifest.backbone_sha256 != model.backbone_sha256:
        raise InputError(
            f"{name} was made for another backbone (pack {manifest.pack.name} {manifest.pack.version}, backbone "
            f"{manifest.backbone_sha256[:12]}; the model has {model.backbone_sha256[:12]}, pack {model.pack.name} "
            f"{model.pack.version}); compile it with the model's pack"
        )


class HeadOnBackbone:
    """A backbone and a head as an engine."""

    def __init__(self, backbone: Backbone, head: Head | QuantizedHead) -> None:
        self.name, self.version = backbone.engine.name, backbone.engine.version
        self.height, self.width = backbone.engine.height, backbone.engine.width
        self.n_outputs = len(head.labels)
        self._backbone, self._head = backbone, head

    def run(self, image: np.ndarray) -> np.ndarray:
        """uint8 (1, height, width, 3) -> softmax scores, float32 (n_outputs,)."""
        return softmax(self._head.logits(self._backbone.features(image)[np.newaxis]))[0]

    def close(self) -> None:
        """The backbone stays open."""
