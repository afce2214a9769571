"""Small real networks, images with structure, heads and manifests for the exporter tests."""

from __future__ import annotations

import numpy as np
import pytest

from t2m_exporters.graph import Add, Conv, Dense, DepthwiseConv, Graph, L2Normalize, Mean
from t2m_exporters.quantize import QuantizedGraph, quantize_graph
from t2m_runtime.head import Head, Layer
from t2m_runtime.manifest import MANIFEST_SCHEMA, InputSpec, Manifest, OutputSpec, PackRef

UNIFORM = (128.0, 128.0, 128.0)


def conv_weight(rng: np.random.Generator, out: int, side: int, inputs: int) -> np.ndarray:
    """He-scaled filters; every other first-layer-sized filter is smooth, so that features follow the image."""
    weight = rng.normal(0, np.sqrt(2 / (side * side * inputs)), (out, side, side, inputs))
    if side == 3:
        bump = np.outer([1, 2, 1], [1, 2, 1])[None, :, :, None] / 8
        weight[::2] = weight[::2] * bump
    # Channels of unequal strength, as trained networks have them: what per-channel scales are for.
    return (weight * rng.lognormal(0, 0.5, (out, 1, 1, 1))).astype(np.float32)


def resnet(side: int = 96, stem: int = 16, widths=(24, 48, 80, 128), d: int = 256, seed: int = 0) -> Graph:
    """The default backbone's shape: stem, basic blocks at stride 2 with 1x1 shortcuts, mean, projection, unit."""
    rng = np.random.default_rng(seed)

    def bias(out: int) -> np.ndarray:
        return rng.normal(0, 0.1, out).astype(np.float32)

    nodes = [Conv("stem", "image", conv_weight(rng, stem, 3, 3), bias(stem), 2, True)]
    last, inputs = "stem", stem
    for i, width in enumerate(widths):
        nodes += [
            Conv(f"b{i}a", last, conv_weight(rng, width, 3, inputs), bias(width), 2, True),
            Conv(f"b{i}b", f"b{i}a", conv_weight(rng, width, 3, width), bias(width)),
            Conv(f"b{i}s", last, conv_weight(rng, width, 1, inputs), bias(width), 2),
            Add(f"b{i}", f"b{i}b", f"b{i}s", True),
        ]
        last, inputs = f"b{i}", width
    pooled = 4 * inputs
    nodes += [
        Conv("last", last, conv_weight(rng, pooled, 1, inputs), bias(pooled), 1, True),
        Mean("pooled", "last"),
        Dense("project", "pooled", (rng.normal(0, 1, (d, pooled)) / np.sqrt(pooled)).astype(np.float32), bias(d)),
        L2Normalize("unit", "project"),
    ]
    return Graph((side, side, 3), UNIFORM, UNIFORM, tuple(nodes), "unit")


def pictures(n: int, side: int, seed: int = 0) -> np.ndarray:
    """uint8 (n, side, side, 3): gradients, gratings, blobs and noise of random colours, no two alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    out = np.empty((n, side, side, 3), np.uint8)
    for i in range(n):
        a, b = rng.normal(0, 1, (2, 3))
        angle, frequency = rng.uniform(0, np.pi), rng.uniform(1, 12)
        wave = np.sin(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 6))
        blob = np.exp(-((x - rng.uniform()) ** 2 + (y - rng.uniform()) ** 2) / rng.uniform(0.01, 0.2))
        ramp = x * rng.normal() + y * rng.normal()
        image = 128 + 40 * (
            ramp[..., None] * a + wave[..., None] * b * rng.uniform(0, 1) + blob[..., None] * 2 * a[::-1]
        )
        out[i] = np.clip(image + rng.normal(0, rng.uniform(0, 15), image.shape), 0, 255)
    return out


def random_head(k: int, d: int = 256, hidden: int = 0, seed: int = 0, scale: float = 12.0) -> Head:
    """A cosine-like head (unit rows times ``scale``), with a hidden ReLU layer where ``hidden`` is not 0."""
    rng = np.random.default_rng(seed)
    layers = []
    if hidden:
        weight = rng.normal(0, np.sqrt(2 / d), (hidden, d)).astype(np.float32)
        layers.append(Layer(weight * 4, rng.normal(0, 0.1, hidden).astype(np.float32)))
        d = hidden
    weight = rng.normal(0, 1, (k, d)).astype(np.float32)
    weight *= scale / np.linalg.norm(weight, axis=1, keepdims=True)
    layers.append(Layer(weight, rng.normal(0, 0.2, k).astype(np.float32)))
    return Head(tuple(f"class {i}" for i in range(k)), tuple(layers))


def manifest(head, target: str, precision: str, side: int = 96, scores: str = "softmax") -> Manifest:
    """A manifest that fits the head."""
    return Manifest(
        schema_version=MANIFEST_SCHEMA,
        name="test task",
        labels=head.labels,
        thresholds=(None,) * len(head.labels),
        target=target,
        precision=precision,
        input=InputSpec(height=side, width=side),
        output=OutputSpec(scores=scores),
        pack=PackRef("test", "1", "0" * 64),
        backbone_sha256="0" * 64,
        tool_version="0.1.0",
        self_test=None,
    )


@pytest.fixture(scope="session")
def make():
    """The builders of this file."""
    from types import SimpleNamespace

    return SimpleNamespace(resnet=resnet, pictures=pictures, head=random_head, manifest=manifest)


@pytest.fixture(scope="session")
def graph() -> Graph:
    """A small ResNet, 48 px, all operators but DEPTHWISE_CONV_2D."""
    return resnet(48, 8, (12, 16, 24), d=32)


@pytest.fixture(scope="session")
def foreign_graph() -> Graph:
    """A depthwise network with ImageNet's mean and deviation, one a channel, and no unit length at its end."""
    rng = np.random.default_rng(5)
    nodes = (
        Conv("stem", "image", conv_weight(rng, 8, 3, 3), np.zeros(8, np.float32), 2, True),
        DepthwiseConv(
            "wise", "stem", rng.normal(0, 0.4, (3, 3, 8)).astype(np.float32), np.zeros(8, np.float32), 2, True
        ),
        Conv("point", "wise", conv_weight(rng, 16, 1, 8), np.zeros(16, np.float32), 1, True),
        Mean("pooled", "point"),
    )
    return Graph((32, 32, 3), (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), nodes, "pooled")


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """uint8 (48, 48, 48, 3)."""
    return pictures(48, 48)


@pytest.fixture(scope="session")
def quantized(graph: Graph, images: np.ndarray) -> QuantizedGraph:
    """The small ResNet in int8."""
    return quantize_graph(graph, images)
