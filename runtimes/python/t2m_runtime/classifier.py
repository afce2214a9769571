"""Photo in, class names out: one artifact, loaded."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Union

import numpy as np

from t2m_runtime.artifact import Source, kind_of, load_head, manifest_of, name_of, read_bytes
from t2m_runtime.engines import load_engine
from t2m_runtime.errors import InputError, WorkError
from t2m_runtime.manifest import PRESENT, Manifest
from t2m_runtime.preparation import open_image, prepare
from t2m_runtime.self_test import SelfTest

if TYPE_CHECKING:
    from PIL import Image

    from t2m_runtime.frames import Frame

Photo = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview, "Image.Image", np.ndarray, "Frame"]


@dataclass(frozen=True)
class Result:
    """The answer for one image.

    Args:
        names: class names, best first.
        scores: their scores, best first; equal scores keep the order of the labels.
        rejected: the best score is under its class's threshold: "none of these". The names are still listed. Of a
            multi-label model: no class is present.
        present: of a multi-label model, the classes whose scores reach their thresholds, best first; else empty.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
    rejected: bool
    present: tuple[str, ...] = ()

    def best(self, count: int) -> Result:
        """The answer with its ``count`` best classes and, of a multi-label model, all that are present."""
        listed = [i for i, name in enumerate(self.names) if i < count or name in self.present]
        names, scores = (tuple(values[i] for i in listed) for values in (self.names, self.scores))
        return replace(self, names=names, scores=scores)


class Classifier:
    """A full model (.tflite or .onnx) that t2m-edge compiled, on an engine.

    Make it with ``Classifier.load``. All methods may be called from several threads: LiteRT and the C core take one
    image at a time, ONNX Runtime as many as there are; ``swap_head`` waits for the image in work, and every answer is
    that of one head. It works in a ``with`` statement.

    Attributes:
        manifest: what the artifact says about itself.
        engine: the engine that runs it; has ``name`` and ``version``.
    """

    def __init__(self, manifest: Manifest, engine: Any) -> None:
        """Checks that the manifest is that of the engine's model; InputError where it is not."""
        spec = manifest.input
        if (engine.height, engine.width) != (spec.height, spec.width):
            raise InputError(
                f"the model takes {engine.height}x{engine.width} pixels and its manifest says "
                f"{spec.height}x{spec.width}; make the model again"
            )
        if engine.n_outputs != len(manifest.labels):
            raise InputError(
                f"the model has {engine.n_outputs} outputs and its manifest {len(manifest.labels)} labels; "
                "make the model again"
            )
        self.manifest = manifest
        self.engine = engine
        # An answer needs scores and labels of the same head. Engines whose heads cannot be swapped need no lock.
        self._one_head = threading.Lock() if hasattr(engine, "swap_head") else contextlib.nullcontext()

    @classmethod
    def load(
        cls, path: Source, engine: str | None = None, num_threads: int = 1, *, trusted: bool = False
    ) -> Classifier:
        """Loads an artifact.

        Args:
            path: of a .tflite or .onnx file, or its bytes.
            engine: "litert", "litert-reference" (slow, to compare with), "tflite_runtime", "core" or "onnxruntime";
                None takes LiteRT, else tflite-runtime, else the C core, for .tflite and ONNX Runtime for .onnx.
            num_threads: for the engine.
            trusted: whether this process wrote the bytes, so that nobody can have damaged them; saves milliseconds.

        Raises:
            InputError: no such file, not made by t2m-edge, broken, a head file (it needs a backbone), or no engine
                for it is installed.
        """
        data = read_bytes(path)
        manifest = manifest_of(data, name_of(path))
        kind = kind_of(data)
        if kind == "head" or kind is None:
            raise InputError(f"{name_of(path)} is a head file without a backbone; merge it into a full model first")
        output = manifest.output
        quantization = (output.scale, output.zero_point) if output.dtype != "float32" else (1.0, 0)
        loaded = load_engine(
            kind, data, engine=engine, num_threads=num_threads, quantization=quantization, trusted=trusted
        )
        return cls(manifest, loaded)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names, in the order of ``scores``."""
        return self.manifest.labels

    def classify(self, image: Photo, top_k: int | None = None) -> Result:
        """Names what is in a photo.

        Args:
            image: path of an image file, its bytes, a Pillow image, uint8 (H, W, 3) RGB of any size, upright, or a
                camera ``Frame`` (frames.py).
            top_k: how many classes to list, 1 or more; None lists all.

        Raises:
            InputError: not an image (see preparation.py), or a top_k under 1.
            WorkError: the engine failed.
        """
        if top_k is not None and (not isinstance(top_k, (int, np.integer)) or isinstance(top_k, bool) or top_k < 1):
            raise InputError(f"top_k is {top_k!r}; give a whole number from 1, or None for all classes")
        with self._one_head:
            return self._answer(self.scores(self._prepared(image)), top_k)

    def _prepared(self, image: Photo) -> np.ndarray:
        from t2m_runtime.frames import Frame, frame_to_rgb

        spec = self.manifest.input
        if isinstance(image, Frame):
            # The core prepares frames in C; both give the same bytes.
            if hasattr(self.engine, "prepare"):
                return self.engine.prepare(image)
            return prepare(frame_to_rgb(image), spec.height, spec.width, spec.crop)
        from PIL import Image

        if not isinstance(image, (Image.Image, np.ndarray)):
            image = open_image(image)
        return prepare(image, spec.height, spec.width, spec.crop)

    def _answer(self, scores: np.ndarray, top_k: int | None) -> Result:
        order = np.argsort(-scores, kind="stable")
        limits = self.manifest.thresholds
        present: tuple[str, ...] = ()
        if self.manifest.output.scores == "sigmoid":
            reached = (i for i in order if float(scores[i]) >= (PRESENT if limits[i] is None else limits[i]))
            present = tuple(self.labels[i] for i in reached)
            rejected = not present
        else:
            threshold = limits[order[0]]
            rejected = threshold is not None and float(scores[order[0]]) < threshold
        listed = order[:top_k]
        return Result(
            names=tuple(self.labels[index] for index in listed),
            scores=tuple(float(scores[index]) for index in listed),
            rejected=rejected,
            present=present,
        )

    def classify_many(self, images: Iterable[Photo], top_k: int | None = None) -> list[Result]:
        """classify for each image, one after the other; the first bad image raises."""
        return [self.classify(image, top_k) for image in images]

    def stream(self, images: Iterable[Photo], top_k: int | None = None) -> Iterator[Result]:
        """classify for each image as it comes, such as the frames of a camera; the first bad image raises.

        Heads may be swapped meanwhile: each result is that of the head in use when its image came.
        """
        for image in images:
            yield self.classify(image, top_k)

    def swap_head(self, head: Source) -> None:
        """Puts a head file's classes in place of the current ones; on the C core only, in microseconds.

        On other engines take ``Backbone.with_head``.

        Args:
            head: path of a .t2mh file, or its bytes.

        Raises:
            InputError: no such file, broken, made for another backbone, or another engine; the current head stays.
        """
        if not hasattr(self.engine, "swap_head"):
            raise InputError(f"{self.engine.name} cannot swap heads; take engine='core' or Backbone.with_head")
        data = read_bytes(head)
        loaded, manifest = load_head(data, name_of(head))
        hidden = len(loaded.layers[0].bias) if len(loaded.layers) == 2 else 0
        with self._one_head:
            self.engine.swap_head(data, len(loaded.labels), hidden)
            self.manifest = replace(manifest, input=self.manifest.input)

    def scores(self, image: np.ndarray) -> np.ndarray:
        """The model's output for an image that is already prepared.

        Args:
            image: uint8 (height, width, 3) or (1, height, width, 3), of exactly the model's size.

        Returns:
            float32 (k,), in the order of labels: as manifest.output.scores says.

        Raises:
            InputError: an image of another shape or dtype, or the classifier was closed.
            WorkError: the engine failed, or gave numbers that are not finite.
        """
        if isinstance(image, np.ndarray) and image.ndim == 3:
            image = image[np.newaxis]
        scores = self.engine.run(image)
        if not np.isfinite(scores).all():
            raise WorkError("the model gave scores that are not finite numbers; make it again")
        return scores

    def self_test(self) -> float:
        """Runs the artifact's own test image.

        Returns:
            The largest absolute difference to the stored outputs; compare it with ``manifest.self_test.tolerance``.

        Raises:
            InputError: the artifact carries no self-test, or a broken one.
            WorkError: the engine failed.
        """
        test = self.manifest.self_test
        if not isinstance(test, SelfTest):
            raise InputError("the model carries no self-test; compile it again to get one")
        image = test.image(self.manifest.input.height, self.manifest.input.width)
        return float(np.abs(self.scores(image).astype(np.float64) - np.array(test.expected)).max())

    def close(self) -> None:
        """Gives the engine's memory back; the classifier cannot be used afterwards."""
        self.engine.close()

    def __enter__(self) -> Classifier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
