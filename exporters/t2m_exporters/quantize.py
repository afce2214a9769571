"""Static int8: per-channel symmetric weights, asymmetric activations, int32 biases (TFLite's quantisation spec)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from t2m_exporters.graph import (
    INPUT,
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
from t2m_exporters.ranges import METHODS, Histogram, Quantization, choose, from_interval
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead, QuantizedLayer

UNIT = Quantization(1 / 128, 0)
"""What TFLite's int8 L2_NORMALIZATION demands of its output."""

SATURATION = 0.01
"""How much of a softmax score may be lost, of any image of the bank, by raising low logits to the least int8 one."""

_BIAS_LIMIT = 2**30 - 1


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """Args:
    weight: int8, in the node's own layout.
    scale: float32 (out,), one a channel, positive.
    bias: int32 (out,), at scale ``input scale * scale``.
    """

    weight: np.ndarray
    scale: np.ndarray
    bias: np.ndarray


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


def quantize_weights(rows: np.ndarray, bias: np.ndarray, input_scale: float) -> QuantizedWeights:
    """Symmetric int8 weights, one scale a row: ``scale = max |row| / 127``.

    A scale is raised where the bias would not fit 31 bits at it, and is never so small that a runtime's fixed-point
    multiplier would underflow.

    Args:
        rows: float32 (out, n).
        bias: float32 (out,).
        input_scale: scale of the activations that meet the weights.
    """
    scale = np.abs(rows).max(1).astype(np.float64) / 127
    usual = scale[scale > 0].mean() if (scale > 0).any() else 1.0
    # A row of zeros would have scale 0, which readers refuse.
    scale = np.maximum(scale, usual * 1e-4)
    scale = np.maximum(scale, np.abs(bias) / (input_scale * _BIAS_LIMIT))
    scale = np.maximum(scale, 1e-20).astype(np.float32)
    weight = np.clip(np.rint(rows / scale[:, None]), -127, 127).astype(np.int8)
    step = scale.astype(np.float64) * np.float32(input_scale)
    whole = np.clip(np.rint(bias / step), -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32)
    return QuantizedWeights(weight, scale, whole)


def quantize_head(
    head: Head,
    features: np.ndarray,
    feature_scale: float,
    feature_zero_point: int = 0,
    logits: tuple[float, float] = (0.0, 0.0),
    real: np.ndarray | None = None,
    softmax: bool = False,
) -> QuantizedHead:
    """int8 form of a head, its activation ranges measured on the feature bank.

    The logits cover the greatest value seen on the bank: clipping would make the greatest ones equal, and those
    decide. The hidden layer is chosen like an activation of the backbone.

    Args:
        features: int8 (n, d), as the int8 backbone emits them.
        feature_scale, feature_zero_point: of the backbone's features tensor.
        logits: an interval to cover as well, for a bank whose images show none of the head's classes.
        real: the features dequantised, float32 (n, d), where they are at hand.
        softmax: whether a softmax follows. Then logits too low to matter to it share the least step
            (``softmax_floor``), and the others get finer ones: fewer ties at the top. Else all are covered.

    Raises:
        InputError: features of another shape or dtype.
    """
    if not isinstance(features, np.ndarray) or features.dtype != np.int8 or features.ndim != 2 or not len(features):
        raise InputError(f"features must be a non-empty int8 array (n, {head.n_features})")
    if features.shape[1] != head.n_features:
        raise InputError(f"features have shape {features.shape}; the head reads (n, {head.n_features})")
    source = Quantization(float(np.float32(feature_scale)), int(feature_zero_point))
    x, scale, layers = source.dequantize(features) if real is None else real, source.scale, []
    for index, layer in enumerate(head.layers):
        last = index + 1 == len(head.layers)
        found = quantize_weights(layer.weight, layer.bias, scale)
        x = x @ layer.weight.T + layer.bias
        if not last:
            x = np.maximum(x, np.float32(0))
        if last:
            low = softmax_floor(x) if softmax else x.min()
            result = from_interval(min(low, logits[0]), max(x.max(), logits[1]))
        else:
            result = _least_error(x)
        layers.append(QuantizedLayer(found.weight, found.scale, found.bias, result.scale, result.zero_point))
        scale = result.scale
    return QuantizedHead(head.labels, source.scale, source.zero_point, tuple(layers))


def softmax_floor(logits: np.ndarray) -> float:
    """To which value lower logits may be raised, so that no image's softmax scores lose over SATURATION of themselves.

    Raising the logits l of an image to L adds sum(max(exp(L) - exp(l), 0)) to the denominator of its softmax.

    Args:
        logits: float32 (n, k).

    Returns:
        The greatest such value up to the least of the images' best logits, found by bisection to 1/256 of that range.
    """
    best = logits.max(1)
    low, high = float(logits.min()), float(best.min())
    # Classes first: numpy reduces a long last axis many times faster than a short one.
    powers = np.exp(np.ascontiguousarray(logits.T) - best)
    allowed = np.float32(SATURATION) * powers.sum(0)
    for _ in range(8):
        middle = (low + high) / 2
        over = np.maximum(np.exp(np.float32(middle) - best) - powers, 0).sum(0) > allowed
        if over.any():
            # Only images that are over can be the ones that hold the floor down.
            high, best, powers, allowed = middle, best[over], powers[:, over], allowed[over]
        else:
            low = middle
    return low


def _least_error(x: np.ndarray) -> Quantization:
    histogram = Histogram()
    histogram.widen(x)
    histogram.add(x)
    return choose(histogram)


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
