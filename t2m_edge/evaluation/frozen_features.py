"""Pooled features of frozen backbones of others (data/backbones), for the study and for choosing text encoders.

They saw ImageNet: with them "unseen" means unseen by what is trained on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t2m_edge.evaluation.kept import drop_parts, in_parts, keep
from t2m_edge.hypernetworks.class_vectors import unit
from t2m_edge.training.datasets import load_images, load_labels
from t2m_edge.training.features import some_of_each
from t2m_runtime.engines.litert import without_announcement

SIDE = 224
TRAIN_IMAGES = 200
DIRECTIONS = 256


@dataclass(frozen=True)
class FrozenBackbone:
    """A ``.tflite`` of the data folder; ``tensor``: the number of its pooled features, None: its output."""

    file: str
    tensor: int | None = None


BACKBONES = {
    "mobilenet_v1": FrozenBackbone("mobilenet_v1_1.0_224_quant_embedding_extractor.tflite"),
    "mobilenet_v2": FrozenBackbone("mobilenet_v2_1.0_224_quant.tflite", 6),
    "mobilenet_edgetpu": FrozenBackbone("mobilenet_edgetpu_224_1.0_uint8.tflite", 192),
}


@dataclass(frozen=True)
class PooledFeatures:
    """pooled float32 (n, d), real values; labels int64 (n,) into classes."""

    pooled: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def only(self, classes: tuple[str, ...]) -> PooledFeatures:
        """These classes alone, labels renumbered."""
        number = {c: i for i, c in enumerate(classes)}
        new = np.array([number.get(c, -1) for c in self.classes])[self.labels]
        return PooledFeatures(self.pooled[new >= 0], new[new >= 0], classes)


def pooled_features(
    backbone: str,
    dataset: str,
    part: str,
    shared: Path,
    cache: Path,
    per_class: int | None = None,
    side: int | None = None,
) -> PooledFeatures:
    """Features of a data set's images at 224 x 224, at most ``per_class`` of each class; kept in ``cache``.

    ``side``: the images are first shrunk to this side, to be as coarse as those of another data set.
    """
    labels, classes = load_labels(shared, cache, dataset, part)
    rows = np.arange(len(labels)) if per_class is None else some_of_each(labels, per_class)
    shrunk = "" if side is None else f"-{side}"
    path = cache / f"{dataset}-{part}-{backbone}-{len(rows)}{shrunk}.npz"
    if not path.exists():
        images = load_images(shared, cache, dataset, part).images
        images = images[rows] if side is None else _shrunk([images[i] for i in rows], side)
        run = Extractor(shared / "data" / "backbones", BACKBONES[backbone])
        pooled = in_parts(path, len(images), lambda numbers: run([images[i] for i in numbers]))
        keep(path, pooled=pooled, scale=run.scale, zero=run.zero)
        drop_parts(path, len(images))
    with np.load(path) as table:
        real = (table["pooled"].astype(np.float32) - np.float32(table["zero"])) * np.float32(table["scale"])
    return PooledFeatures(real, labels[rows], classes)


def _shrunk(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    from PIL import Image

    small = [Image.fromarray(image).resize((side, side), Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image) for image in small])


class Extractor:
    """Images -> pooled features, uint8 (n, d), of a frozen backbone; scale and zero make them real."""

    def __init__(self, folder: Path, backbone: FrozenBackbone) -> None:
        from ai_edge_litert.interpreter import Interpreter

        keep_all = backbone.tensor is not None
        with without_announcement():
            self._engine = Interpreter(
                str(folder / backbone.file), num_threads=1, experimental_preserve_all_tensors=keep_all
            )
            self._engine.allocate_tensors()
        number = self._engine.get_output_details()[0]["index"] if backbone.tensor is None else backbone.tensor
        self._tensor = next(d for d in self._engine.get_tensor_details() if d["index"] == number)
        self.scale, self.zero = self._tensor["quantization"]

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        from PIL import Image

        source = self._engine.get_input_details()[0]["index"]
        pooled = np.empty((len(images), self._tensor["shape"][-1]), np.uint8)
        for i, image in enumerate(images):
            large = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            self._engine.set_tensor(source, np.asarray(large)[None])
            self._engine.invoke()
            pooled[i] = self._engine.get_tensor(self._tensor["index"]).reshape(-1)
        return pooled


def transformed(seen: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Square root, unit, minus the seen mean, unit, strongest 256 directions of the seen images, unit.

    Pooled features float32 (n, D), not negative (what rounding leaves below 0 counts as 0) -> float32 (n, 256).
    """
    first = [unit(np.sqrt(np.maximum(x, 0))) for x in (seen, *others)]
    mean = first[0].mean(0)
    centred = [unit(x - mean) for x in first]
    directions = np.linalg.eigh(centred[0].T @ centred[0])[1][:, ::-1][:, :DIRECTIONS]
    return [unit(x @ directions).astype(np.float32) for x in centred]
