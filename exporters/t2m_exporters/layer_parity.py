"""How close a written backbone is to its float graph, layer by layer: measured once, when a pack is built."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

import numpy as np

from t2m_exporters.graph import Graph, run
from t2m_exporters.parity import compare
from t2m_exporters.tensor_names import FEATURES
from t2m_runtime.errors import InputError


def layer_parity(model: bytes, graph: Graph, images: np.ndarray) -> dict[str, Any]:
    """Parity of a backbone ``.tflite`` in any precision against the float graph that it comes from.

    Args:
        model: what write_backbone_tflite or derive_tflite wrote of ``graph``.
        images: uint8 (n, H, W, C).

    Returns:
        The fields of Parity for the features, and "layers": name, max_abs, mean_abs and cosine of each node's result,
        dequantised, in the order of execution. Cosine: mean over the images, of the whole activation.
    """
    from ai_edge_litert.interpreter import Interpreter

    expected = run(graph, images, [node.name for node in graph.nodes])
    with warnings.catch_warnings():
        # That it keeps every tensor in memory is what we want of it.
        warnings.simplefilter("ignore")
        interpreter = Interpreter(model_content=model, num_threads=1, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    details = {detail["name"]: detail for detail in interpreter.get_tensor_details()}
    found: dict[str, list[np.ndarray]] = {}
    for image in images:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
        interpreter.invoke()
        for name in expected:
            detail = details.get(FEATURES if name == graph.output else name)
            if detail is None:
                raise InputError(f"the backbone has no tensor {name!r}; it was written from another graph")
            found.setdefault(name, []).append(_real(interpreter.get_tensor(detail["index"])[0], detail))
    layers = [{"name": name, **_difference(expected[name], np.stack(found[name]))} for name in expected]
    return {**asdict(compare(expected[graph.output], np.stack(found[graph.output]))), "layers": layers}


def _real(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if not scale:
        return values.copy()
    return (values.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)


def _difference(expected: np.ndarray, found: np.ndarray) -> dict[str, float]:
    error = np.abs(expected - found)
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (expected, found))
    lengths = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    cosine = np.where(lengths > 0, (a * b).sum(1) / np.maximum(lengths, 1e-300), error.reshape(len(a), -1).max(1) == 0)
    # Six digits: the same on every machine that rounds activations alike.
    facts = {"max_abs": error.max(), "mean_abs": error.mean(), "cosine": cosine.mean()}
    return {key: float(f"{value:.6g}") for key, value in facts.items()}
