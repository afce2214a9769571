"""A float network in the few operators that every int8 runtime runs well: the source both writers start from."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from t2m_exporters.tensor_names import FEATURES, HEAD, INPUT, SCORES
from t2m_runtime.errors import InputError

MAX_SIDE = 4096


@dataclass(frozen=True, eq=False)
class Conv:
    """CONV_2D with SAME padding, then ReLU where ``relu``.

    Args:
        weight: float32 (out, kernel height, kernel width, in).
        bias: float32 (out,).
    """

    name: str
    input: str
    weight: np.ndarray
    bias: np.ndarray
    stride: int = 1
    relu: bool = False


@dataclass(frozen=True, eq=False)
class DepthwiseConv:
    """DEPTHWISE_CONV_2D with SAME padding and one filter a channel, then ReLU where ``relu``.

    Args:
        weight: float32 (kernel height, kernel width, channels).
        bias: float32 (channels,).
    """

    name: str
    input: str
    weight: np.ndarray
    bias: np.ndarray
    stride: int = 1
    relu: bool = False


@dataclass(frozen=True)
class Add:
    """Sum of two tensors of the same shape, then ReLU where ``relu``."""

    name: str
    a: str
    b: str
    relu: bool = False


@dataclass(frozen=True)
class Mean:
    """Mean over height and width: (H, W, C) -> (C,)."""

    name: str
    input: str


@dataclass(frozen=True, eq=False)
class Dense:
    """FULLY_CONNECTED: ``input @ weight.T + bias``, then ReLU where ``relu``.

    Args:
        weight: float32 (out, in).
        bias: float32 (out,).
    """

    name: str
    input: str
    weight: np.ndarray
    bias: np.ndarray
    relu: bool = False


@dataclass(frozen=True)
class L2Normalize:
    """A vector divided by its Euclidean length: (d,) -> (d,)."""

    name: str
    input: str


Node = Conv | DepthwiseConv | Add | Mean | Dense | L2Normalize
WEIGHTED = (Conv, DepthwiseConv, Dense)


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in the order of execution, for one image. Checked when made.

    Args:
        input_shape: (height, width, channels) of the uint8 image.
        mean: one value a channel, in units of the uint8 image.
        std: one positive value a channel, in the same units.
        nodes: each reads "image" or the name of an earlier node.
        output: name of the node whose result is the feature vector.

    Raises:
        InputError: names that repeat or are unknown, shapes that do not fit, weights that are not finite float32.
    """

    input_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    nodes: tuple[Node, ...]
    output: str

    def __post_init__(self) -> None:
        _check_input(self)
        found = shapes(self)
        if FEATURES in found and self.output != FEATURES:
            raise InputError(f"a node is named {FEATURES!r} and is not the output; give it another name")
        if self.output == INPUT or self.output not in found:
            raise InputError(f"the graph's output {self.output!r} is not one of its nodes")
        if len(found[self.output]) != 1:
            raise InputError(f"the graph's output {self.output!r} has shape {found[self.output]}; expected a vector")

    @property
    def n_features(self) -> int:
        """Length of the feature vector."""
        return shapes(self)[self.output][0]


def inputs(node: Node) -> tuple[str, ...]:
    """Names of the tensors that a node reads."""
    return (node.a, node.b) if isinstance(node, Add) else (node.input,)


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor without the batch axis: (H, W, C) or (d,). "image" is the normalised input."""
    found: dict[str, tuple[int, ...]] = {INPUT: tuple(graph.input_shape)}
    for node in graph.nodes:
        if not isinstance(node.name, str) or not node.name or node.name in found:
            raise InputError(f"node name {node.name!r} is empty, {INPUT!r} or used twice; give each node its own name")
        if node.name == SCORES or node.name.startswith(HEAD):
            raise InputError(f"node name {node.name!r} is kept for the head; give the node another name")
        for source in inputs(node):
            if source not in found:
                raise InputError(f"node {node.name!r} reads {source!r}, which no earlier node gives")
        found[node.name] = _shape(node, [found[source] for source in inputs(node)])
    return found


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TFLite's SAME padding along one axis: (before, after), the odd one after."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class InputForm:
    """How a quantised-integer graph states the normalisation ``(uint8 - mean) / std`` exactly.

    Args:
        scale: real value of one step of the uint8 input tensor.
        zero_point: uint8 value that means 0.
        nodes: the graph's nodes, with a 1x1 DepthwiseConv in front where scale and zero point cannot say it all.
    """

    scale: float
    zero_point: int
    nodes: tuple[Node, ...]


def input_form(graph: Graph) -> InputForm:
    """Normalisation as scale and zero point of the input tensor, plus a leading 1x1 DepthwiseConv where needed.

    One whole-number mean and one std for all channels are the quantisation parameters themselves. Anything else is a
    1x1 depthwise convolution, which is exact at the borders; folding it into a zero-padded convolution is not.
    """
    mean, std = graph.mean, graph.std
    if len(set(mean)) == 1 and len(set(std)) == 1 and float(mean[0]).is_integer() and 0 <= mean[0] <= 255:
        return InputForm(float(np.float32(1 / std[0])), int(mean[0]), graph.nodes)
    taken = {node.name for node in graph.nodes}
    name = next(n for n in ("normalised", *(f"normalised_{i}" for i in range(len(taken) + 1))) if n not in taken)
    scale = 1 / np.asarray(std, np.float64)
    front = DepthwiseConv(
        name,
        INPUT,
        scale.astype(np.float32)[None, None, :],
        (-np.asarray(mean, np.float64) * scale).astype(np.float32),
    )
    return InputForm(1.0, 0, (front, *(_renamed(node, INPUT, name) for node in graph.nodes)))


def run(graph: Graph, images: np.ndarray, outputs: list[str], batch: int = 16) -> dict[str, np.ndarray]:
    """Float activations of a graph, through ONNX Runtime on the written fp32 ONNX graph.

    Args:
        images: uint8 (n, H, W, C).
        outputs: names of nodes (or "image", the normalised input).
        batch: images a call.

    Returns:
        name -> float32 (n, H, W, C) or (n, d), NHWC.

    Raises:
        InputError: images of another shape or dtype, or unknown names.
    """
    check_images(graph, images)
    found = shapes(graph)
    for name in outputs:
        if name not in found:
            raise InputError(f"the graph has no tensor {name!r}; it has {', '.join(found)}")
    step = activations(graph, outputs)
    parts = [step(images[start : start + batch]) for start in range(0, len(images), batch)]
    return {name: np.concatenate([part[i] for part in parts]) for i, name in enumerate(outputs)}


def activations(graph: Graph, outputs: list[str]):
    """A function uint8 (n, H, W, C) -> list of float32 (n, ...), one for each name in outputs, NHWC.

    The session is made once, so that callers can go through more images than fit in memory.
    """
    import onnxruntime

    from t2m_exporters.onnx import write_activations_onnx

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        write_activations_onnx(graph, outputs), options, providers=["CPUExecutionProvider"]
    )

    def step(images: np.ndarray) -> list[np.ndarray]:
        found = session.run(None, {INPUT: images})
        return [np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if x.ndim == 4 else x for x in found]

    return step


def check_images(graph: Graph, images: np.ndarray) -> None:
    """Raises InputError unless images is uint8 (n, H, W, C) with n at least 1."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(f"images must be a uint8 array (n, {', '.join(map(str, graph.input_shape))})")
    if images.shape[1:] != tuple(graph.input_shape) or not len(images):
        raise InputError(f"images have shape {images.shape}; expected (n, {', '.join(map(str, graph.input_shape))})")


def _renamed(node: Node, old: str, new: str) -> Node:
    values = {field.name: getattr(node, field.name) for field in fields(node)}
    for key in ("input", "a", "b"):
        if values.get(key) == old:
            values[key] = new
    return type(node)(**values)


def _check_input(graph: Graph) -> None:
    shape = tuple(graph.input_shape)
    if len(shape) != 3 or not all(isinstance(n, (int, np.integer)) and 1 <= n <= MAX_SIDE for n in shape):
        raise InputError(f"input_shape is {graph.input_shape}; expected (height, width, channels) up to {MAX_SIDE}")
    for what, values in (("mean", graph.mean), ("std", graph.std)):
        if len(values) != shape[2] or not np.isfinite(values).all():
            raise InputError(f"{what} is {values}; expected {shape[2]} finite numbers, one a channel")
    if min(graph.std) <= 0:
        raise InputError(f"std is {graph.std}; expected positive numbers")


def _shape(node: Node, sources: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Shape of a node's result from those of its inputs."""
    first = sources[0]
    if isinstance(node, Add):
        if first != sources[1]:
            raise InputError(f"Add {node.name!r} reads shapes {first} and {sources[1]}; expected one shape")
        return first
    if isinstance(node, (Mean, Conv, DepthwiseConv)) and len(first) != 3:
        raise InputError(f"node {node.name!r} reads shape {first}; expected (height, width, channels)")
    if isinstance(node, (Dense, L2Normalize)) and len(first) != 1:
        raise InputError(f"node {node.name!r} reads shape {first}; expected a vector")
    if isinstance(node, Mean):
        return (first[2],)
    if isinstance(node, L2Normalize):
        return first
    _check_weights(node, first[-1])
    if isinstance(node, Dense):
        return (node.weight.shape[0],)
    if node.stride not in (1, 2, 3, 4):
        raise InputError(f"node {node.name!r} has stride {node.stride}; expected 1 to 4")
    height, width = (math.ceil(n / node.stride) for n in first[:2])
    return (height, width, len(node.bias))


def _check_weights(node: Conv | DepthwiseConv | Dense, channels: int) -> None:
    ndim = {Conv: 4, DepthwiseConv: 3, Dense: 2}[type(node)]
    for what, array, dims in (("weight", node.weight, ndim), ("bias", node.bias, 1)):
        if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.ndim != dims or not array.size:
            raise InputError(f"{what} of {node.name!r} must be a float32 array with {dims} dimensions")
        if not np.isfinite(array).all():
            raise InputError(f"{what} of {node.name!r} has values that are not finite numbers")
    if node.weight.shape[-1] != channels:
        raise InputError(
            f"weight of {node.name!r} has shape {node.weight.shape}; its input has {channels} channels, "
            "which the last axis must match"
        )
    out = node.weight.shape[-1] if isinstance(node, DepthwiseConv) else node.weight.shape[0]
    if node.bias.shape != (out,):
        raise InputError(f"bias of {node.name!r} has shape {node.bias.shape}; expected ({out},)")
