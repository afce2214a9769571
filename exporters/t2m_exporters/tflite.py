"""Backbone graphs as ``.tflite``, and a head appended to one: milliseconds, no converter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from t2m_exporters.fit import SOFTMAX_INT8, check_fit
from t2m_exporters.tensor_names import HEAD, INPUT, SCORES
from t2m_exporters.tflite_metadata import (
    LABELS_NAME,
    MANIFEST_NAME,
    METADATA_NAME,
    labels_file,
    model_metadata,
    with_files,
)
from t2m_exporters.tflite_tables import ROOM, ModelWriter, activation
from t2m_exporters.weights import SMALLEST_INT8, half, head_axis, symmetric_int8
from t2m_runtime.errors import InputError
from t2m_runtime.head import Head, QuantizedHead
from t2m_runtime.tflite_file import read_tables, read_tensor

if TYPE_CHECKING:
    from t2m_exporters.graph import Graph
    from t2m_exporters.quantize import QuantizedGraph
    from t2m_runtime.manifest import Manifest

SIGNATURE = "serving_default"
_BETA = ((0, "Float32", 1.0),)


def write_backbone_tflite(graph: Graph | QuantizedGraph) -> bytes:
    """A backbone as a complete TFLite model.

    Args:
        graph: float32, or int8 from quantize_graph.

    Returns:
        The file. Input "image": uint8 (1, H, W, C). Output "features": float32 (1, d), or int8 (1, d) with its scale
        and zero point on the tensor. Operators: DEQUANTIZE (fp32) or QUANTIZE (int8) at the front, then the graph's.
    """
    from t2m_exporters.tflite_backbone import BackboneWriter

    return BackboneWriter(graph).write()


def append_head_tflite(backbone: bytes, head: Head | QuantizedHead, manifest: Manifest) -> bytes:
    """A classifier: backbone + FULLY_CONNECTED (one or two) + the tail that ``manifest.output`` asks for.

    Args:
        backbone: a pack's graph in the manifest's precision: int8 for a QuantizedHead, else float features.
        head: reads the backbone's features.
        manifest: names the same labels; stored whole as t2m_manifest.json in the zip at the file's end.

    Returns:
        The file. Input "image": uint8 (1, H, W, 3); output "scores": (1, k). Signature "serving_default" (image ->
        scores). Tail of a float32 output: DEQUANTIZE (int8), SOFTMAX; of an integer one, see output_quantization.

    Raises:
        InputError: head, backbone and manifest do not belong together, or the backbone's bytes are damaged.
    """
    existing = read_tables(backbone)
    ends = existing.inputs + existing.outputs
    if len(existing.inputs) != 1 or len(existing.outputs) != 1 or not all(0 <= i < len(existing.tensors) for i in ends):
        raise InputError("the backbone must have one input and one output; use the pack's own file")
    positions = [existing.tensors[i] for i in ends]
    image, features = (read_tensor(backbone, position) for position in positions)
    check_fit(image, features, head, manifest, "tflite")

    weights = sum(layer.weight.nbytes + 16 * len(layer.bias) for layer in head.layers)
    labels = labels_file(head.labels)
    writer = ModelWriter(ROOM + weights, backbone, existing)
    tensor = existing.outputs[0]
    if isinstance(head, QuantizedHead):
        tensor = _int8_tail(writer, _int8_head(writer, tensor, head, manifest), head, manifest)
    else:
        tensor = _float_tail(writer, _float_head(writer, tensor, head, manifest), len(head.labels), manifest)
    metadata = model_metadata(manifest.name, _description(head), *image.shape[1:3], manifest.output.scores)
    model = writer.finish(
        (INPUT, existing.inputs[0]), (SCORES, tensor), _description(head), {METADATA_NAME: metadata}, SIGNATURE
    )
    return with_files(*model, files={LABELS_NAME: labels, MANIFEST_NAME: manifest.to_json().encode()})


def _description(head: Head | QuantizedHead) -> str:
    return f"t2m-edge image classifier of {len(head.labels)} classes"


def _float_head(writer: ModelWriter, tensor: int, head: Head, manifest: Manifest) -> int:
    """Float logits, from weights stored as the precision says (weights.rounded_head)."""
    for index, layer in enumerate(head.layers):
        relu = index + 1 < len(head.layers)
        out = len(layer.bias)
        name = f"{HEAD}hidden" if relu else f"{HEAD}logits"
        shape, form, options = layer.weight.shape, "float32", activation(relu)
        if manifest.precision == "fp16":
            weight = _half(writer, f"{name}/weight", layer.weight)
            bias = _half(writer, f"{name}/bias", layer.bias)
        else:
            if manifest.precision == "int8-dynamic" and layer.weight.size >= SMALLEST_INT8:
                values, scale = symmetric_int8(layer.weight, head_axis("tflite"))
                weight = writer.tensor(f"{name}/weight", shape, "int8", scale, data=values)
                form, options = "dynamic", (*options, (3, "Bool", True))
            else:
                weight = writer.tensor(f"{name}/weight", shape, "float32", data=layer.weight)
            bias = writer.tensor(f"{name}/bias", (out,), "float32", data=layer.bias)
        result = writer.tensor(name if relu or not _wants(manifest, "logits") else SCORES, (1, out), "float32")
        writer.operator("FULLY_CONNECTED", [tensor, weight, bias], result, form, options)
        tensor = result
    return tensor


def _half(writer: ModelWriter, name: str, values: np.ndarray) -> int:
    stored = writer.tensor(f"{name}/float16", values.shape, "float16", data=half(values))
    result = writer.tensor(name, values.shape, "float32")
    writer.operator("DEQUANTIZE", [stored], result, "float16")
    return result


def _int8_head(writer: ModelWriter, tensor: int, head: QuantizedHead, manifest: Manifest) -> int:
    """int8 logits."""
    scale = head.input_scale
    for index, layer in enumerate(head.layers):
        relu = index + 1 < len(head.layers)
        out = len(layer.bias)
        name = f"{HEAD}hidden" if relu else f"{HEAD}logits_int8"
        weight = writer.tensor(f"{name}/weight", layer.weight.shape, "int8", layer.weight_scale, data=layer.weight)
        bias_scale = np.float32(scale) * layer.weight_scale
        bias = writer.tensor(f"{name}/bias", (out,), "int32", bias_scale, data=layer.bias)
        last = not relu and manifest.output.dtype == "int8" and _wants(manifest, "logits")
        result = writer.tensor(SCORES if last else name, (1, out), "int8", layer.output_scale, layer.output_zero_point)
        writer.operator("FULLY_CONNECTED", [tensor, weight, bias], result, "int8", activation(relu))
        tensor, scale = result, layer.output_scale
    return tensor


def _wants(manifest: Manifest, scores: str) -> bool:
    return manifest.output.scores == scores


def _float_tail(writer: ModelWriter, logits: int, k: int, manifest: Manifest) -> int:
    if _wants(manifest, "logits"):
        return logits
    integer = manifest.output.dtype != "float32"
    scores = writer.tensor(f"{HEAD}scores" if integer else SCORES, (1, k), "float32")
    if _wants(manifest, "sigmoid"):
        writer.operator("LOGISTIC", [logits], scores, "float32")
    else:
        writer.operator("SOFTMAX", [logits], scores, "float32", _BETA)
    return _quantised(writer, scores, k, "float32", manifest) if integer else scores


def _int8_tail(writer: ModelWriter, logits: int, head: QuantizedHead, manifest: Manifest) -> int:
    k, dtype = len(head.labels), manifest.output.dtype
    if dtype == "float32":
        real = writer.tensor(SCORES if _wants(manifest, "logits") else f"{HEAD}logits", (1, k), "float32")
        writer.operator("DEQUANTIZE", [logits], real, "int8")
        return _float_tail(writer, real, k, manifest)
    if _wants(manifest, "softmax"):
        last = dtype == "int8"
        scores = writer.tensor(SCORES if last else f"{HEAD}scores_int8", (1, k), "int8", *SOFTMAX_INT8)
        writer.operator("SOFTMAX", [logits], scores, "int8", _BETA)
        logits = scores
    return logits if dtype == "int8" else _quantised(writer, logits, k, "int8", manifest)


def _quantised(writer: ModelWriter, source: int, k: int, form: str, manifest: Manifest) -> int:
    output = manifest.output
    result = writer.tensor(SCORES, (1, k), output.dtype, output.scale, output.zero_point)
    writer.operator("QUANTIZE", [source], result, form)
    return result
