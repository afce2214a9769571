"""The pack's own text encoder as ONNX, for places without numpy (a browser). It is an export, not part of a pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from t2m_edge.text.encoder import MATRICES, PLACES, check_tensors
from t2m_edge.text.encoder_file import read_tensors

OPSET = 13
IR_VERSION = 8


def text_encoder_onnx(folder: str | Path) -> bytes:
    """An ONNX model of the encoder in `folder`.

    Inputs: "tokens" int64 (n, t), rows padded with any token number, and "mask" float32 (n, t), 1 where a token counts
    and 0 on padding and the unknown token. Output: "embeddings" float32 (n, d_text), unit rows; a row without a token
    that counts is undefined. Matrices stay int8.

    Raises:
        InputError: the encoder's tensors are missing or do not fit.
    """
    tensors = read_tensors(Path(folder) / "encoder.safetensors")
    d_text = check_tensors(tensors)
    e = tensors["table"].shape[1]
    constants = {
        "table": tensors["table"],
        "table_scale": tensors["table_scale"].astype(np.float32),
        "log_weight": np.log(tensors["token_weight"]),
        "second_axis": np.array([1], np.int64),
        "last_axis": np.array([2], np.int64),
        "tokens_axis": np.array(1, np.int64),
        "one": np.array(1, np.float32),
        "far": np.array(-1e9, np.float32),
        "zero": np.array(0, np.float32),
        "last_place": np.array(PLACES - 1, np.float32),
        "flat": np.array([0, -1], np.int64),
        "queries_shape": np.array([0, -1, e], np.int64),
    }
    for look, name in (("first", "first_places"), ("second", "places")):
        begin, end = np.split(tensors[name].T, 2)
        constants |= {f"{look}_begin": begin, f"{look}_end": end}
    for name in MATRICES:
        constants |= {name: tensors[name], f"{name}_scale": tensors[f"{name}_scale"]}
        constants |= {f"{name}_bias": tensors[f"{name}_bias"], f"{name}_zero": np.zeros(len(tensors[name]), np.int8)}
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "tokens"], ["rows_int8"]),
        node("Cast", ["rows_int8"], ["rows_raw"], to=TensorProto.FLOAT),
        node("Gather", ["table_scale", "tokens"], ["scales"]),
        node("Unsqueeze", ["scales", "last_axis"], ["scales_3d"]),
        node("Mul", ["rows_raw", "scales_3d"], ["rows"]),
        node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        # A token that does not count is out of reach of every head.
        node("Gather", ["log_weight", "tokens"], ["weights"]),
        node("Sub", ["one", "mask"], ["left_out"]),
        node("Mul", ["left_out", "far"], ["distance"]),
        node("Add", ["weights", "distance"], ["base_2d"]),
        node("Unsqueeze", ["base_2d", "second_axis"], ["base"]),
        node("Softmax", ["base"], ["shares"], axis=2),
        node("MatMul", ["shares", "rows"], ["mean"]),
        node("Reshape", ["mean", "flat"], ["mean_2d"]),
        # Which token it is, of those that count, from the first and from the last.
        node("CumSum", ["mask", "tokens_axis"], ["number"]),
        node("Sub", ["number", "one"], ["from_begin_raw"]),
        node("ReduceSum", ["mask", "second_axis"], ["count"], keepdims=1),
        node("Sub", ["count", "number"], ["from_end_raw"]),
        *_place("from_begin"),
        *_place("from_end"),
        *_dense("first_query", "mean_2d"),
        *_look("first", "first_query_out"),
        *_dense("context", "first_pooled"),
        node("Relu", ["context_out"], ["context_active"]),
        *_dense("query", "context_active"),
        *_look("second", "query_out"),
        *_dense("hidden", "second_pooled"),
        node("Relu", ["hidden_out"], ["hidden_active"]),
        node("Concat", ["second_pooled", "hidden_active"], ["both"], axis=1),
        *_dense("linear", "both"),
        node("ReduceL2", ["linear_out"], ["length"], axes=[1], keepdims=1),
        node("Div", ["linear_out", "length"], ["embeddings"]),
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


def _dense(name: str, given: str) -> list[NodeProto]:
    return [
        helper.make_node("DequantizeLinear", [name, f"{name}_scale", f"{name}_zero"], [f"{name}_float"], axis=0),
        helper.make_node("Gemm", [given, f"{name}_float", f"{name}_bias"], [f"{name}_out"], transB=1),
    ]


def _place(name: str) -> list[NodeProto]:
    return [
        helper.make_node("Clip", [f"{name}_raw", "zero", "last_place"], [f"{name}_near"]),
        helper.make_node("Cast", [f"{name}_near"], [name], to=TensorProto.INT64),
    ]


def _look(name: str, queries: str) -> list[NodeProto]:
    """Queries (n, k e) -> "{name}_pooled", (n, e + k e): OwnEncoder's look."""
    node = helper.make_node
    return [
        node("Reshape", [queries, "queries_shape"], [f"{name}_queries"]),
        node("MatMul", [f"{name}_queries", "columns"], [f"{name}_products"]),
        node("Gather", [f"{name}_begin", "from_begin"], [f"{name}_of_begin"]),
        node("Gather", [f"{name}_end", "from_end"], [f"{name}_of_end"]),
        node("Add", [f"{name}_of_begin", f"{name}_of_end"], [f"{name}_places"]),
        node("Transpose", [f"{name}_places"], [f"{name}_by_head"], perm=[0, 2, 1]),
        node("Sum", [f"{name}_products", f"{name}_by_head", "base"], [f"{name}_scores"]),
        node("Softmax", [f"{name}_scores"], [f"{name}_shares"], axis=2),
        node("MatMul", [f"{name}_shares", "rows"], [f"{name}_heads"]),
        node("Concat", ["mean", f"{name}_heads"], [f"{name}_all"], axis=1),
        node("Reshape", [f"{name}_all", "flat"], [f"{name}_pooled"]),
    ]
