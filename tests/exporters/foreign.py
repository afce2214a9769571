"""Small classifiers as other tools write them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from t2m_exporters.tflite_metadata import LABELS_NAME, METADATA_NAME, labels_file, model_metadata, with_files
from t2m_exporters.tflite_tables import ModelWriter

D = 12


def weights(k: int, d: int = D) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(k, d)).astype(np.float32), rng.normal(size=k).astype(np.float32)


def tflite(
    k: int = 6,
    layer: str = "FULLY_CONNECTED",
    form: str = "float32",
    labels: tuple[str, ...] = (),
    side: int = 1,
    biased: bool = True,
) -> bytes:
    """features (1, [side, side,] 12) -> last layer -> softmax; int8 ones have one scale a row."""
    weight, bias = weights(k)
    convolution = layer == "CONV_2D"
    writer = ModelWriter(4096)
    inner = (side, side) if convolution else ()
    filters = weight.reshape(k, 1, 1, D) if convolution else weight
    if form == "float32":
        source = writer.tensor("features", (1, *inner, D), form)
        constants = [writer.tensor("w", filters.shape, form, data=filters), writer.tensor("b", (k,), form, data=bias)]
        logits = writer.tensor("logits", (1, *inner, k), form)
        scores = writer.tensor("scores", (1, *inner, k), form)
    else:
        scale = np.abs(weight).max(1) / 127
        stored = np.rint(filters / scale.reshape(-1, *[1] * (filters.ndim - 1))).astype(np.int8)
        source = writer.tensor("features", (1, *inner, D), "int8", 0.02, 3)
        steps = np.rint(bias / (scale * 0.02)).astype(np.int32)
        constants = [
            writer.tensor("w", filters.shape, "int8", scale, data=stored),
            writer.tensor("b", (k,), "int32", scale * np.float32(0.02), data=steps),
        ]
        logits = writer.tensor("logits", (1, *inner, k), "int8", 0.1, 0)
        scores = writer.tensor("scores", (1, *inner, k), "int8", 1 / 256, -128)
    options = ((0, "Int8", 0), (1, "Int32", 1), (2, "Int32", 1)) if convolution else ()
    constants = constants if biased else [constants[0], -1]
    writer.operator(layer, [source, *constants], logits, form, options)
    writer.operator("SOFTMAX", [logits], scores, form, ((0, "Float32", 1.0),))
    metadata = {METADATA_NAME: model_metadata("x", "y", 1, 1)} if labels else None
    pieces = writer.finish(("features", source), ("scores", scores), "a small classifier", metadata)
    files = {LABELS_NAME: labels_file(labels), "notes.txt": b"kept"} if labels else None
    return with_files(*pieces, files=files) if files else b"".join(pieces)


def onnx(
    k: int = 6, form: str = "gemm", labels: str | None = None, last: str = "Softmax", biased: bool = True, ir: int = 8
) -> bytes:
    """features -> last layer -> softmax; form: gemm, gemm-flipped, matmul, conv, conv-wide, half, qdq."""
    weight, bias = weights(k)
    constants, nodes = {"w": weight, "b": bias}, []
    shape = [1, D]
    if form == "gemm":
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["logits"], transB=1)]
    elif form == "gemm-flipped":
        constants["w"] = np.ascontiguousarray(weight.T)
        nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["logits"])]
    elif form == "matmul":
        constants["w"] = np.ascontiguousarray(weight.T)
        nodes = [helper.make_node("MatMul", ["x", "w"], ["sums"]), helper.make_node("Add", ["b", "sums"], ["logits"])]
    elif form.startswith("conv"):
        shape = [1, D, 1, 1] if form == "conv" else [1, D, 2, 2]
        constants["w"] = weight.reshape(k, D, 1, 1)
        constants["sizes"] = np.array([1, k] if form == "conv" else [1, 4 * k], np.int64)
        nodes = [
            helper.make_node("Conv", ["x", "w", "b"], ["map"]),
            helper.make_node("Reshape", ["map", "sizes"], ["logits"]),
        ]
    elif form == "half":
        constants = {"w16": weight.astype(np.float16), "b": bias}
        nodes = [
            helper.make_node("Cast", ["w16"], ["w"], to=TensorProto.FLOAT),
            helper.make_node("Gemm", ["x", "w", "b"], ["logits"], transB=1),
        ]
    elif form == "qdq":
        scale = (np.abs(weight).max(1) / 127).astype(np.float32)
        step = scale * np.float32(0.02)
        constants = {
            "w8": np.rint(weight / scale[:, None]).astype(np.int8),
            "ws": scale,
            "wz": np.zeros(k, np.int8),
            "b32": np.rint(bias / step).astype(np.int32),
            "bs": step,
            "bz": np.zeros(k, np.int32),
            "xs": np.array(0.02, np.float32),
            "xz": np.array(3, np.int8),
        }
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["x8"]),
            helper.make_node("DequantizeLinear", ["x8", "xs", "xz"], ["xd"]),
            helper.make_node("DequantizeLinear", ["w8", "ws", "wz"], ["w"], axis=0),
            helper.make_node("DequantizeLinear", ["b32", "bs", "bz"], ["b"], axis=0),
            helper.make_node("Gemm", ["xd", "w", "b"], ["logits"], transB=1),
        ]
    if not biased:
        constants.pop("b", None)
        nodes = [node for node in nodes if node.op_type != "Add" and "b" not in node.output]
        for node in nodes:
            if "b" in node.input:
                del node.input[2:]
        if form == "matmul":
            nodes[-1].output[0] = "logits"
    nodes.append(helper.make_node(last, ["logits"], ["scores"]))
    stored = [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    if ir < 4:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in stored]
    graph = helper.make_graph(
        nodes,
        "g",
        inputs,
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, k if form != "conv-wide" else 4 * k])],
        stored,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=ir)
    if labels is not None:
        helper.set_model_props(model, {"labels": labels, "author": "kept"})
    return model.SerializeToString()
