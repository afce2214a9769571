"""A trained backbone and its feature transform as the graph that the exporters write."""

from __future__ import annotations

import numpy as np
import torch

from t2m_edge.backbones.resnet import INPUT_SIDE, ConvNorm, ResNet
from t2m_edge.backbones.transform import FeatureTransform
from t2m_exporters.graph import INPUT, Add, Conv, Dense, Graph, L2Normalize, Mean, Node

ZERO = 128.0
"""The uint8 value that becomes 0, so that zero padding pads with mid grey exactly."""


def fold(layer: ConvNorm) -> tuple[np.ndarray, np.ndarray]:
    """Batch normalisation folded into the convolution: weight float32 (O, kh, kw, I), bias float32 (O,)."""
    norm = layer.norm
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = layer.conv.weight * gain[:, None, None, None]
    bias = norm.bias - norm.running_mean * gain
    return weight.detach().permute(0, 2, 3, 1).contiguous().numpy(), bias.detach().numpy().copy()


def backbone_graph(model: ResNet, transform: FeatureTransform) -> Graph:
    """Image (96, 96, 3) -> unit feature vector: CONV_2D, ADD, MEAN, FULLY_CONNECTED and L2_NORMALIZATION alone."""
    nodes: list[Node] = []

    def conv(layer: ConvNorm, source: str, name: str) -> str:
        weight, bias = fold(layer)
        nodes.append(Conv(name, source, weight, bias, layer.conv.stride[0], layer.relu))
        return name

    x = conv(model.stem, INPUT, "stem")
    for i, block in enumerate(model.blocks):
        short = x if block.short is None else conv(block.short, x, f"block{i}.short")
        y = conv(block.second, conv(block.first, x, f"block{i}.first"), f"block{i}.second")
        x = f"block{i}"
        nodes.append(Add(x, y, short, relu=True))
    conv(model.last, x, "last")
    nodes.append(Mean("pooled", "last"))
    nodes.append(Dense("projected", "pooled", transform.weight, transform.bias))
    nodes.append(L2Normalize("features", "projected"))
    return Graph((INPUT_SIDE, INPUT_SIDE, 3), (ZERO,) * 3, (ZERO,) * 3, tuple(nodes), "features")
