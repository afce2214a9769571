"""The parity of a backbone names the layer where the error enters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from t2m_exporters.layer_parity import layer_parity
from t2m_exporters.quantize import QuantizedGraph
from t2m_exporters.ranges import Quantization
from t2m_exporters.tflite import write_backbone_tflite
from t2m_exporters.tflite_derived import derive_tflite
from t2m_runtime.errors import InputError


@pytest.fixture(scope="module")
def probes(make):
    return make.pictures(6, 48, seed=9)


def test_every_layer_is_compared_and_precisions_rank_as_they_should(graph, quantized, probes):
    float_model = write_backbone_tflite(graph)
    found = {
        "fp32": layer_parity(float_model, graph, probes),
        "fp16": layer_parity(derive_tflite(float_model, "fp16"), graph, probes),
        "int8": layer_parity(write_backbone_tflite(quantized), graph, probes),
    }
    for parity in found.values():
        assert [layer["name"] for layer in parity["layers"]] == [node.name for node in graph.nodes]
        assert parity["images"] == 6
    assert found["fp32"]["cosine"] > 0.999999 and found["fp32"]["max_abs"] < 1e-4
    assert found["fp32"]["max_abs"] < found["fp16"]["max_abs"] < found["int8"]["max_abs"]
    assert min(layer["cosine"] for layer in found["int8"]["layers"]) > 0.95


def test_the_layer_whose_range_is_wrong_is_the_first_that_is_off(graph, quantized, probes):
    names = [node.name for node in graph.nodes]
    bad = names[3]
    ranges = {**quantized.activations, bad: Quantization(quantized.activations[bad].scale / 40, -128)}
    weights = dict(quantized.weights)
    for node in graph.nodes:
        if bad in (getattr(node, "input", None),) and node.name in weights:
            w = weights[node.name]
            weights[node.name] = replace(
                w, bias=np.clip(w.bias.astype(np.int64) * 40, -(2**30), 2**30).astype(np.int32)
            )
    broken = write_backbone_tflite(QuantizedGraph(graph, ranges, weights))
    layers = layer_parity(broken, graph, probes)["layers"]
    first = next(layer["name"] for layer in layers if layer["cosine"] < 0.9)
    assert first == bad


def test_another_graphs_backbone_is_refused(graph, foreign_graph, make):
    with pytest.raises(InputError, match="another graph"):
        layer_parity(write_backbone_tflite(graph), _renamed(graph), make.pictures(1, 48))


def _renamed(graph):
    from t2m_exporters.graph import Graph

    nodes = list(graph.nodes)
    nodes[0] = replace(nodes[0], name="other")
    nodes = [replace(n, input="other") if getattr(n, "input", "") == graph.nodes[0].name else n for n in nodes]
    return Graph(graph.input_shape, graph.mean, graph.std, tuple(nodes), graph.output)
