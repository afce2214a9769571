"""An ``.onnx`` embedding model from elsewhere as a backbone, in float32 and, with calibration images, in int8."""

from __future__ import annotations

import tempfile
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.graph import MAX_SIDE
from t2m_exporters.ranges import from_interval
from t2m_exporters.tensor_names import FEATURES, INPUT
from t2m_runtime.errors import InputError
from t2m_runtime.head import MAX_FEATURES

MIN_OPSET = 13
"""Older models are brought to it by onnx's own converter."""


def adopt_onnx(model: bytes, mean: tuple[float, ...], std: tuple[float, ...]) -> bytes:
    """A float32 backbone from any ONNX model of one image and one embedding.

    Args:
        model: input float32 (1 or n, 3, H, W) or (1 or n, H, W, 3), normalised; output one vector an image.
        mean, std: of the three channels, in units of the uint8 image: the model was trained on ``(x - mean) / std``.

    Returns:
        The file. Input "image": uint8 (1, H, W, 3), the normalisation inside. Output "features": float32 (1, d).

    Raises:
        InputError: damaged, of other ends, or with constants outside the file.
    """
    import onnx
    from onnx import TensorProto, compose, helper, numpy_helper, version_converter

    with damage():
        tree = onnx.load_from_string(model)
        if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tree.graph.initializer):
            raise InputError("the ONNX model keeps constants in other files; save it as one file")
        opset = next((entry.version for entry in tree.opset_import if not entry.domain), 0)
        if opset < MIN_OPSET:
            tree = version_converter.convert_version(tree, MIN_OPSET)
        tree = compose.add_prefix(tree, "model/")
        graph = tree.graph
        constants = {tensor.name for tensor in graph.initializer}
        _fold_identities(graph, constants)
        inputs = [value for value in graph.input if value.name not in constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise InputError(f"the model has {len(inputs)} inputs and {len(graph.output)} outputs; expected one each")
        shape = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        if (
            inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT
            or len(shape) != 4
            or 3 not in (shape[1], shape[3])
        ):
            raise InputError(f"the model's input has shape {shape}; expected float32 (1, 3, H, W) or (1, H, W, 3)")
        channels_first = shape[1] == 3
        height, width = shape[2:] if channels_first else shape[1:3]
        if not all(8 <= n <= MAX_SIDE for n in (height, width)):
            raise InputError(f"the model's input has shape {shape}; height and width must be fixed")
        arranged = (1, 3, 1, 1) if channels_first else (1, 1, 1, 3)
        values = {"mean": np.array(mean, np.float32), "gain": (1 / np.array(std, np.float64)).astype(np.float32)}
        for name, value in values.items():
            graph.initializer.append(numpy_helper.from_array(value.reshape(arranged), f"{INPUT}/{name}"))
        source, front = INPUT, []
        if channels_first:
            front.append(helper.make_node("Transpose", [INPUT], ["image_nchw"], "image_nchw", perm=[0, 3, 1, 2]))
            source = "image_nchw"
        front += [
            helper.make_node("Cast", [source], ["image_float"], "image_float", to=TensorProto.FLOAT),
            helper.make_node("Sub", ["image_float", f"{INPUT}/mean"], ["image_centred"], "image_centred"),
            helper.make_node("Mul", ["image_centred", f"{INPUT}/gain"], [inputs[0].name], "image_normalised"),
        ]
        back = helper.make_node("Flatten", [graph.output[0].name], [FEATURES], FEATURES, axis=1)
        nodes = [*front, *graph.node, back]
        image = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, height, width, 3])
        del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
        graph.node.extend(nodes)
        graph.input.append(image)
        d = _width(tree)
        graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, [1, d]))
        onnx.checker.check_model(tree)
        return tree.SerializeToString(deterministic=True)


def quantize_onnx(model: bytes, images: np.ndarray, quantization: tuple[float, int] | None = None) -> bytes:
    """The static int8 form of what adopt_onnx wrote, through ONNX Runtime's own quantiser.

    QuantizeLinear / DequantizeLinear pairs, one scale a channel, weights in 7 bits: ONNX Runtime on x86 without VNNI
    adds pairs of 8-bit products in saturating 16 bits.

    Args:
        images: uint8 (n, H, W, 3) to calibrate with.
        quantization: scale and zero point of the features, those of the backbone's int8 ``.tflite`` where there is one;
            None takes them from the images.

    Returns:
        The file. Output "features": int8 (1, d), its scale and zero point in constants as our own backbones have them.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.rest, None)
            return None if image is None else {INPUT: image[None]}

    features = run_onnx(model, images)
    with tempfile.TemporaryDirectory() as folder, damage():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.load_from_string(model),
            str(path),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        tree = onnx.load(str(path))
    graph = tree.graph
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name == FEATURES:
                node.output[index] = f"{FEATURES}/float"
    scale, zero_point = quantization or astuple(from_interval(features.min(), features.max()))
    names = [f"{FEATURES}/scale", f"{FEATURES}/zero_point"]
    graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), names[0]))
    graph.initializer.append(numpy_helper.from_array(np.array(zero_point, np.int8), names[1]))
    last = helper.make_node("QuantizeLinear", [f"{FEATURES}/float", *names], [FEATURES], f"{FEATURES}/quantize")
    graph.node.append(last)
    d = features.shape[1]
    del graph.output[:], graph.value_info[:]
    graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.INT8, [1, d]))
    return tree.SerializeToString(deterministic=True)


def run_onnx(model: bytes, images: np.ndarray) -> np.ndarray:
    """Features of uint8 (n, H, W, 3): float32 or int8 (n, d)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with damage():
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run([FEATURES], {INPUT: image[None]})[0] for image in images])


def _fold_identities(graph: Any, constants: set[str]) -> None:
    """Nodes read constants themselves, not copies of them: quantisers look for the constant."""
    copies = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity" and n.input[0] in constants}
    kept = [node for node in graph.node if not (node.op_type == "Identity" and node.output[0] in copies)]
    for node in kept:
        for index, name in enumerate(node.input):
            node.input[index] = copies.get(name, name)
    if not any(value.name in copies for value in graph.output):
        del graph.node[:]
        graph.node.extend(kept)


def _width(tree: object) -> int:
    """Length of the features, by running one image: shapes of models from elsewhere are often left out."""
    import onnx
    from onnx import TensorProto, helper

    probe = onnx.ModelProto()
    probe.CopyFrom(tree)
    probe.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, None))
    height, width = (d.dim_value for d in probe.graph.input[0].type.tensor_type.shape.dim[1:3])
    found = run_onnx(probe.SerializeToString(), np.zeros((1, height, width, 3), np.uint8))
    if found.ndim != 2 or found.shape[0] != 1 or not 2 <= found.shape[1] <= MAX_FEATURES:
        raise InputError(f"the model's output has shape {found.shape}; expected one vector an image")
    return found.shape[1]
