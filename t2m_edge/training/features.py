"""Features of images as the int8 artifact emits them, and the pooled features that the transform is fitted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from t2m_edge.backbones.resnet import INPUT_SIDE, ResNet, normalise
from t2m_edge.training.datasets import ImageSet
from t2m_runtime import prepare
from t2m_runtime.engines.litert import without_announcement


@dataclass(frozen=True)
class FeatureSet:
    """features int8 (n, d) at ``scale`` (zero point 0); labels int64 (n,) into classes."""

    name: str
    features: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    scale: float

    @property
    def real(self) -> np.ndarray:
        """The features in float32."""
        return self.features.astype(np.float32) * np.float32(self.scale)


def prepared(images: np.ndarray) -> np.ndarray:
    """uint8 (n, s, s, 3) of any side -> uint8 (n, 96, 96, 3) by the runtime's own preparation."""
    return np.stack([prepare(image, INPUT_SIDE, INPUT_SIDE) for image in images])


def some_of_each(labels: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Numbers of at most ``count`` items of each class, drawn with a fixed seed, in class order."""
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    return np.concatenate([np.sort(rng.permutation(np.flatnonzero(labels == c))[:count]) for c in classes])


@torch.inference_mode()
def pooled_features(model: ResNet, images: np.ndarray, batch: int = 128) -> np.ndarray:
    """uint8 (n, s, s, 3) -> float32 (n, 512) of the float backbone, images prepared first."""
    device = next(model.parameters()).device
    out = []
    for begin in range(0, len(images), batch):
        x = normalise(torch.from_numpy(prepared(images[begin : begin + batch])).to(device))
        out.append(model(x.contiguous(memory_format=torch.channels_last)).cpu().numpy())
    return np.concatenate(out)


def int8_features(backbone: bytes, images: ImageSet, threads: int = 1) -> FeatureSet:
    """Run an int8 ``.tflite`` backbone over a data set.

    Args:
        backbone: a graph from uint8 (1, 96, 96, 3) to int8 (1, d), as ``write_backbone_tflite`` writes it.
    """
    from ai_edge_litert.interpreter import Interpreter

    with without_announcement():
        interpreter = Interpreter(model_content=backbone, num_threads=threads)
        interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]
    features = np.empty((len(images.labels), result["shape"][-1]), np.int8)
    for i, image in enumerate(images.images):
        interpreter.set_tensor(source, prepare(image, INPUT_SIDE, INPUT_SIDE)[None])
        interpreter.invoke()
        features[i] = interpreter.get_tensor(result["index"])[0]
    scale, zero_point = result["quantization"]
    assert zero_point == 0
    return FeatureSet(images.name, features, images.labels, images.classes, float(scale))
