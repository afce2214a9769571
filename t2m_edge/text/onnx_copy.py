"""The pack's own text encoder as ONNX, for places without numpy (a browser). It is an export, not part of a pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from t2m_edge.text.encoder import check_tensors
from t2m_edge.text.encoder_file import read_tensors

OPSET = 13
IR_VERSION = 8


def text_encoder_onnx(folder: str | Path) -> bytes:
    """An ONNX model of the encoder in `folder`.

    Inputs: "tokens" int64 (n, t), rows padded with any token number, and "mask" float32 (n, t), 1 where a token counts
    and 0 on padding and the unknown token. Output: "embeddings" float32 (n, d_text), unit rows. Matrices stay int8.

    Raises:
        InputError: the encoder's tensors are missing or do not fit.
    """
    tensors = read_tensors(Path(folder) / "encoder.safetensors")
    _, _, _, d_text = check_tensors(tensors)
    constants = {
        "table": tensors["table"],
        "row_weight": tensors["token_weight"] * tensors["table_scale"],
        "token_weight": tensors["token_weight"],
        "hidden": tensors["hidden"],
        "hidden_scale": tensors["hidden_scale"],
        "hidden_bias": tensors["hidden_bias"],
        "linear": tensors["linear"],
        "linear_scale": tensors["linear_scale"],
        "linear_bias": tensors["linear_bias"],
        "hidden_zero": np.zeros(len(tensors["hidden"]), np.int8),
        "linear_zero": np.zeros(len(tensors["linear"]), np.int8),
        "tokens_axis": np.array([1], np.int64),
        "last_axis": np.array([2], np.int64),
        "tiny": np.array(1e-12, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "tokens"], ["rows_int8"]),
        node("Cast", ["rows_int8"], ["rows"], to=TensorProto.FLOAT),
        node("Gather", ["row_weight", "tokens"], ["row_weights"]),
        node("Mul", ["row_weights", "mask"], ["row_shares"]),
        node("Unsqueeze", ["row_shares", "last_axis"], ["row_shares_3d"]),
        node("Mul", ["rows", "row_shares_3d"], ["weighted"]),
        node("ReduceSum", ["weighted", "tokens_axis"], ["sums"], keepdims=0),
        node("Gather", ["token_weight", "tokens"], ["weights"]),
        node("Mul", ["weights", "mask"], ["shares"]),
        node("ReduceSum", ["shares", "tokens_axis"], ["total_raw"], keepdims=1),
        node("Max", ["total_raw", "tiny"], ["total"]),
        node("Div", ["sums", "total"], ["mean"]),
        node("DequantizeLinear", ["hidden", "hidden_scale", "hidden_zero"], ["hidden_float"], axis=0),
        node("Gemm", ["mean", "hidden_float", "hidden_bias"], ["before_relu"], transB=1),
        node("Relu", ["before_relu"], ["activated"]),
        node("Concat", ["mean", "activated"], ["both"], axis=1),
        node("DequantizeLinear", ["linear", "linear_scale", "linear_zero"], ["linear_float"], axis=0),
        node("Gemm", ["both", "linear_float", "linear_bias"], ["raw"], transB=1),
        node("ReduceL2", ["raw"], ["length"], axes=[1], keepdims=1),
        node("Div", ["raw", "length"], ["embeddings"]),
    ]
    graph = helper.make_graph(
        nodes,
        "text_encoder",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "t"]),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["n", "t"]),
        ],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["n", d_text])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="t2m-edge"
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()
