"""Graphs: what is accepted, and that the float network is computed as TFLite defines it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2m_exporters.graph import (
    Add,
    Conv,
    Dense,
    DepthwiseConv,
    Graph,
    L2Normalize,
    Mean,
    input_form,
    run,
    same_padding,
    shapes,
)
from t2m_runtime.errors import InputError


def windows(x: np.ndarray, kernel: tuple[int, int], stride: int) -> np.ndarray:
    """(H, W, C) -> (H', W', kh, kw, C), zeros outside: TFLite's SAME."""
    pads = [same_padding(n, k, stride) for n, k in zip(x.shape[:2], kernel)]
    padded = np.pad(x, [*pads, (0, 0)])
    view = np.lib.stride_tricks.sliding_window_view(padded, kernel, (0, 1))[::stride, ::stride]
    return view.transpose(0, 1, 3, 4, 2)


def reference(graph: Graph, image: np.ndarray) -> dict[str, np.ndarray]:
    """The network in numpy, written from the operators' definitions alone."""
    x = {"image": (image.astype(np.float64) - graph.mean) / graph.std}
    for node in graph.nodes:
        if isinstance(node, Conv):
            y = np.einsum("hwijc,oijc->hwo", windows(x[node.input], node.weight.shape[1:3], node.stride), node.weight)
            y = y + node.bias
        elif isinstance(node, DepthwiseConv):
            y = np.einsum("hwijc,ijc->hwc", windows(x[node.input], node.weight.shape[:2], node.stride), node.weight)
            y = y + node.bias
        elif isinstance(node, Add):
            y = x[node.a] + x[node.b]
        elif isinstance(node, Mean):
            y = x[node.input].mean((0, 1))
        elif isinstance(node, Dense):
            y = x[node.input] @ node.weight.T + node.bias
        elif isinstance(node, L2Normalize):
            y = x[node.input] / np.linalg.norm(x[node.input])
        x[node.name] = np.maximum(y, 0) if getattr(node, "relu", False) else y
    return x


@pytest.mark.parametrize("which", ["graph", "foreign_graph"])
def test_every_activation_equals_a_numpy_reference(which, make, request):
    graph = request.getfixturevalue(which)
    images = make.pictures(3, graph.input_shape[0], seed=9)
    names = list(shapes(graph))
    found = run(graph, images, names, batch=2)
    for i, image in enumerate(images):
        expected = reference(graph, image)
        for name in names:
            assert found[name][i].shape == shapes(graph)[name]
            np.testing.assert_allclose(found[name][i], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


@given(st.integers(1, 300), st.integers(1, 7), st.integers(1, 4))
def test_same_padding_gives_ceil_of_size_over_stride(size, kernel, stride):
    before, after = same_padding(size, kernel, stride)
    assert 0 <= before <= after <= before + 1
    assert (size + before + after - kernel) // stride + 1 == -(-size // stride) or kernel < stride


def test_stride_two_on_even_sizes_pads_after_only():
    assert same_padding(96, 3, 2) == (0, 1)


def test_one_whole_mean_and_one_deviation_are_the_input_quantisation(graph):
    form = input_form(graph)
    assert (form.scale, form.zero_point, form.nodes) == (1 / 128, 128, graph.nodes)


def test_any_other_normalisation_is_a_leading_depthwise_convolution(foreign_graph):
    form = input_form(foreign_graph)
    front = form.nodes[0]
    assert (form.scale, form.zero_point) == (1.0, 0)
    assert isinstance(front, DepthwiseConv) and front.weight.shape == (1, 1, 3)
    pixel = np.array([200.0, 10.0, 77.0])
    expected = (pixel - foreign_graph.mean) / foreign_graph.std
    np.testing.assert_allclose(pixel * front.weight[0, 0] + front.bias, expected, rtol=1e-5)
    assert form.nodes[1].input == front.name


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


BAD = {
    "an unknown input": (Mean("m", "nothing"),),
    "a name used twice": (Conv("a", "image", ones(2, 1, 1, 3), ones(2)), Mean("a", "a")),
    "a name kept for the head": (Mean("head/x", "image"),),
    "the name scores": (Mean("scores", "image"),),
    "an empty name": (Mean("", "image"),),
    "channels that differ": (Conv("a", "image", ones(2, 1, 1, 4), ones(2)), Mean("m", "a")),
    "a bias of another length": (Conv("a", "image", ones(2, 1, 1, 3), ones(3)), Mean("m", "a")),
    "float64 weights": (Conv("a", "image", np.ones((2, 1, 1, 3)), ones(2)), Mean("m", "a")),
    "weights that are not finite": (Conv("a", "image", ones(2, 1, 1, 3) * np.inf, ones(2)), Mean("m", "a")),
    "stride 0": (Conv("a", "image", ones(2, 1, 1, 3), ones(2), 0), Mean("m", "a")),
    "a vector where an image is read": (Mean("a", "image"), Mean("m", "a")),
    "an image where a vector is read": (Dense("m", "image", ones(2, 3), ones(2)),),
    "shapes that do not add": (Mean("a", "image"), Add("m", "a", "image")),
    "an image as output": (Conv("m", "image", ones(2, 1, 1, 3), ones(2)),),
}


@pytest.mark.parametrize("nodes", BAD.values(), ids=BAD.keys())
def test_a_graph_is_refused_for(nodes):
    with pytest.raises(InputError) as caught:
        Graph((8, 8, 3), (0.0,) * 3, (1.0,) * 3, nodes, "m")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"output": "image"},
        {"output": "nothing"},
        {"mean": (0.0,)},
        {"std": (1.0, 0.0, 1.0)},
        {"mean": (0.0, float("nan"), 0.0)},
        {"input_shape": (48, 48)},
        {"input_shape": (0, 48, 3)},
        {"input_shape": (10**6, 48, 3)},
    ],
)
def test_a_graph_is_refused_for_its_ends(graph, change):
    with pytest.raises(InputError):
        replace(graph, **change)


@pytest.mark.parametrize(
    "shape,dtype", [((1, 48, 48, 3), "float32"), ((1, 47, 48, 3), "uint8"), ((48, 48, 3), "uint8")]
)
def test_images_of_another_form_are_refused(graph, shape, dtype):
    with pytest.raises(InputError, match="48"):
        run(graph, np.zeros(shape, dtype), ["unit"])


def test_an_unknown_tensor_is_refused(graph, images):
    with pytest.raises(InputError, match="nothing"):
        run(graph, images[:1], ["nothing"])
