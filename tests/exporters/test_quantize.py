"""int8 graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2m_exporters.graph import INPUT, Conv, Dense, Graph, Mean, input_form
from t2m_exporters.quantize import UNIT, quantize_graph
from t2m_runtime.errors import InputError


def test_every_tensor_of_the_graph_gets_a_quantisation(quantized, graph):
    assert set(quantized.activations) == {INPUT, *(node.name for node in graph.nodes)}
    assert set(quantized.weights) == {node.name for node in graph.nodes if hasattr(node, "weight")}
    assert quantized.activations[INPUT].scale == 1 / 128 and quantized.activations[INPUT].zero_point == 0
    assert quantized.features == UNIT


def test_a_relu_uses_all_steps(quantized, graph):
    for node in graph.nodes:
        if getattr(node, "relu", False):
            assert quantized.activations[node.name].zero_point == -128, node.name


def test_the_same_images_give_the_same_numbers(graph, images, quantized):
    again = quantize_graph(graph, images)
    assert again.activations == quantized.activations
    for name, weights in again.weights.items():
        np.testing.assert_array_equal(weights.bias, quantized.weights[name].bias)


def test_the_bias_takes_up_the_mean_error_of_the_weights():
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (32, 8, 8, 3), np.uint8)
    # One large weight a row makes the step coarse, so that the small ones all round to 0.
    weight = np.full((5, 1, 1, 3), 0.003, np.float32)
    weight[:, 0, 0, 0] = 1
    nodes = (Conv("c", "image", weight, np.zeros(5, np.float32)), Mean("m", "c"))
    graph = Graph((8, 8, 3), (0.0,) * 3, (255.0,) * 3, nodes, "m")
    found = quantize_graph(graph, images)
    assert not found.weights["c"].weight[:, 0, 0, 1:].any()
    step = found.weights["c"].scale * np.float32(found.activations[INPUT].scale)
    lost = 0.003 * (images[..., 1:] / 255).mean((0, 1, 2)).sum()
    np.testing.assert_allclose(found.weights["c"].bias * step, lost, rtol=0.02)


def test_foreign_normalisation_is_quantised_as_a_node(foreign_graph, make):
    found = quantize_graph(foreign_graph, make.pictures(8, 32))
    front = input_form(foreign_graph).nodes[0].name
    assert (found.activations[INPUT].scale, found.activations[INPUT].zero_point) == (1.0, -128)
    assert front in found.activations and front in found.weights


@pytest.mark.parametrize("bad", [np.zeros((0, 48, 48, 3), np.uint8), np.zeros((2, 48, 48, 3), np.float32)])
def test_calibration_images_of_another_form_are_refused(graph, bad):
    with pytest.raises(InputError):
        quantize_graph(graph, bad)


def test_an_unknown_method_is_refused(graph, images):
    with pytest.raises(InputError, match="minmax"):
        quantize_graph(graph, images, method="magic")


def test_a_dense_layer_with_relu_is_quantised(make, images):
    graph = make.resnet(48, 8, (12,), d=16)
    first = replace(graph.nodes[-2], relu=True)
    nodes = (
        *graph.nodes[:-2],
        first,
        Dense("second", "project", np.eye(16, dtype=np.float32), np.zeros(16, np.float32)),
    )
    found = quantize_graph(replace(graph, nodes=nodes, output="second"), images)
    assert found.activations["project"].zero_point == -128 and found.features.scale > 0
