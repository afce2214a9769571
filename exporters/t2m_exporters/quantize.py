"""Static int8 of a backbone graph, its activation ranges measured on images. Heads: quantize_head.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from t2m_exporters.graph import (
    WEIGHTED,
    Conv,
    Dense,
    DepthwiseConv,
    Graph,
    L2Normalize,
    activations,
    check_images,
    input_form,
)
from t2m_exporters.quantize_head import QuantizedWeights, quantize_head, quantize_weights
from t2m_exporters.ranges import METHODS, Histogram, Quantization, choose
from t2m_exporters.tensor_names import INPUT
from t2m_runtime.errors import InputError

__all__ = ["UNIT", "QuantizedGraph", "QuantizedWeights", "quantize_graph", "quantize_head", "quantize_weights"]

UNIT = Quantization(1 / 128, 0)
"""What TFLite's int8 L2_NORMALIZATION demands of its output."""


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """A float graph with what its int8 form needs beside it.

    Args:
        graph: as it was given; ``input_form(graph).nodes`` are the nodes that the int8 graph holds.
        activations: tensor name -> scale and zero point, for "image" and each of those nodes.
        weights: name of a Conv, DepthwiseConv or Dense -> its int8 weights.
    """

    graph: Graph
    activations: Mapping[str, Quantization]
    weights: Mapping[str, QuantizedWeights]

    @property
    def features(self) -> Quantization:
        """Scale and zero point of the int8 features."""
        return self.activations[self.graph.output]


def quantize_graph(graph: Graph, images: np.ndarray, method: str = "norm", batch: int = 16) -> QuantizedGraph:
    """int8 form of a graph, its activation ranges and channel means measured on calibration images.

    "norm" is the default because it was best or near it in the mean and on the worst images. Cosine of the int8 to
    the float features, mean and 1st percentile, on images that were not used to calibrate:

    =======================================  ==============  ==============  ===============  ==============
    network, images                          minmax          percentile      mse              norm
    =======================================  ==============  ==============  ===============  ==============
    our ResNet, CIFAR-100 and Grocery test   0.9979, 0.9962  0.9973, 0.9652  0.9979, 0.9878   0.9980, 0.9954
    ResNet-8 (mlcommons/tiny), CIFAR-100     0.9977, 0.9953  0.9976, 0.9859  0.9980, 0.9916   0.9980, 0.9959
    =======================================  ==============  ==============  ===============  ==============

    Of the 0.0020 that our ResNet lacks, 0.0006 is the rounding of 256 unit features to steps of 1/128 alone. The bias
    shift (``_quantize_node``) brought ResNet-8 from 0.9966 to 0.9980 and our ResNet from 0.9976 to 0.9979 (mse).

    Args:
        images: uint8 (n, H, W, C), prepared as in use; 100 to 500 of them suffice.
        method: how ranges are chosen (ranges.choose).
        batch: images a call.

    Raises:
        InputError: images of another shape or dtype, or an unknown method.
    """
    check_images(graph, images)
    if method not in METHODS:
        raise InputError(f"range method {method!r} is not known; use one of {', '.join(METHODS)}")
    form = input_form(graph)
    # Same network, normalisation as a node of its own where the int8 graph has one: its range is then known too.
    plain = (0.0,) * len(graph.mean), (1.0,) * len(graph.std)
    mean, std = (graph.mean, graph.std) if form.nodes is graph.nodes else plain
    whole = Graph(graph.input_shape, mean, std, form.nodes, graph.output)
    names = [INPUT, *(node.name for node in form.nodes)]
    ranges, means = _measure(whole, images, names, method, batch)
    ranges[INPUT] = Quantization(form.scale, form.zero_point - 128)
    ranges.update({node.name: UNIT for node in form.nodes if isinstance(node, L2Normalize)})
    weights = {
        node.name: _quantize_node(node, ranges[node.input].scale, means[node.input])
        for node in form.nodes
        if isinstance(node, WEIGHTED)
    }
    return QuantizedGraph(graph, ranges, weights)


def _measure(
    graph: Graph, images: np.ndarray, names: list[str], method: str, batch: int
) -> tuple[dict[str, Quantization], dict[str, np.ndarray]]:
    """Range and channel means, float64 (C,), of named tensors.

    One pass for the ends and the means, one for the histograms ("minmax" needs no second).
    """
    step = activations(graph, names)
    histograms = {name: Histogram() for name in names}
    sums: dict[str, np.ndarray | float] = dict.fromkeys(names, 0.0)
    passes = 1 if method == "minmax" else 2
    for number in range(passes):
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            for name, x in zip(names, step(part), strict=True):
                if number == 1:
                    histograms[name].add(x)
                    continue
                histograms[name].widen(x)
                rows = x.reshape(-1, x.shape[-1])
                sums[name] += rows.mean(0, dtype=np.float64) * len(part)
    means = {name: total / len(images) for name, total in sums.items()}
    return {name: choose(histograms[name], method) for name in names}, means


def _quantize_node(node: Conv | DepthwiseConv | Dense, input_scale: float, means: np.ndarray) -> QuantizedWeights:
    """int8 weights of a node, its bias shifted by what the weights' rounding adds on average.

    Nagel et al. 2019 (arXiv 1906.04721), section 4.2, equation 17: the output's error has the mean
    ``sum(rounding error * E[input])``; padding at the borders is not counted.

    Args:
        means: float64 (C,), channel means of the node's input.
    """
    wise = isinstance(node, DepthwiseConv)
    rows = node.weight.reshape(-1, node.weight.shape[-1]).T if wise else node.weight.reshape(len(node.weight), -1)
    found = quantize_weights(rows, node.bias, input_scale)
    error = found.weight * found.scale[:, None].astype(np.float64) - rows
    if wise:
        shift = error.sum(1) * means
    else:
        shift = error.reshape(len(rows), -1, len(means)).sum(1) @ means
    found = quantize_weights(rows, node.bias - shift, input_scale)
    weight = np.ascontiguousarray(found.weight.T) if wise else found.weight
    return QuantizedWeights(weight.reshape(node.weight.shape), found.scale, found.bias)
