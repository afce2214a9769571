"""The hypernetwork as an ONNX graph with a free class axis: what ``compile`` runs, without torch.

Input ``classes`` float32 (k, inputs). Outputs ``weight`` (k, n), ``bias`` (k,) and, with a hidden layer,
``hidden_weight`` (hidden, features) and ``hidden_bias`` (hidden,).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from t2m_edge.hypernetworks.hypernetwork import Hypernetwork
from t2m_edge.hypernetworks.layers import EquivariantLinear, InvariantLinear

OPSET = 13
IR_VERSION = 8


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def linear(self, layer: object, x: str, name: str) -> str:
        weight = self.constant(f"{name}.weight", layer.weight.detach().cpu().numpy())
        bias = self.constant(f"{name}.bias", layer.bias.detach().cpu().numpy())
        return self.node("Gemm", [x, weight, bias], name, transB=1)

    def equivariant(self, layer: EquivariantLinear, x: str, name: str) -> str:
        own = self.linear(layer.own, x, f"{name}.own")
        if layer.all is None:
            return own
        mean = self.node("ReduceMean", [x], f"{name}.mean", axes=[0], keepdims=1)
        return self.node("Add", [own, self.linear(layer.all, mean, f"{name}.all")], name)

    def invariant(self, layer: InvariantLinear, x: str, name: str) -> str:
        inner = self.equivariant(layer.inner, x, f"{name}.inner")
        if layer.reduction == "mean":
            whole = self.node("ReduceMean", [inner], f"{name}.reduced", axes=[0], keepdims=1)
        else:
            axes = self.constant(f"{name}.axes", np.array([0], np.int64))
            whole = self.node("ReduceSum", [inner, axes], f"{name}.reduced", keepdims=1)
        return self.linear(layer.outer, self.node("Relu", [whole], f"{name}.relu"), name)


def onnx_form(model: Hypernetwork) -> bytes:
    """The trained network as a serialised ONNX model (opset 13)."""
    config, g = model.config, _Graph()
    skip = None if model.skip is None else g.linear(model.skip, "classes", "skip")
    rows = []
    for i, member in enumerate(model.members):
        x = "classes"
        for name, layer in (("first", member.first), ("second", member.second)):
            x = g.node("Relu", [g.equivariant(layer, x, f"{i}.{name}")], f"{i}.{name}.relu")
        row = g.equivariant(member.row, x, f"{i}.row")
        row = row if skip is None else g.node("Add", [row, skip], f"{i}.with_skip")
        if config.cosine:
            row = g.node("LpNormalization", [row], f"{i}.unit", axis=1, p=2)
        bias = None if member.bias is None else g.equivariant(member.bias, x, f"{i}.bias")
        rows.append((row, bias, x))
    row, bias, x = rows[0]
    if len(rows) > 1:
        row = g.node("Mean", [r for r, _, _ in rows], "rows")
        bias = None if bias is None else g.node("Mean", [b for _, b, _ in rows], "biases")
        row = g.node("LpNormalization", [row], "rows.unit", axis=1, p=2) if config.cosine else row
    if config.cosine:
        assert model.log_scale is not None
        g.node("Mul", [row, g.constant("scale", model.log_scale.detach().exp().cpu().numpy())], "weight")
        zero = g.constant("zero", np.zeros((1, config.hidden or config.features), np.float32))
        axes = g.constant("last", np.array([1], np.int64))
        g.node("ReduceSum", [g.node("Mul", ["weight", zero], "zeros"), axes], "bias", keepdims=0)
    else:
        g.node("Identity", [row], "weight")
        g.node("Squeeze", [bias, g.constant("last", np.array([1], np.int64))], "bias")
    outputs = [("weight", ["k", config.hidden or config.features]), ("bias", ["k"])]
    if config.hidden:
        shape = g.constant("shape", np.array([config.hidden, config.features], np.int64))
        g.node("Reshape", [g.invariant(model.hidden_weight, x, "hw"), shape], "hidden_weight")
        first = g.constant("first_axis", np.array([0], np.int64))
        g.node("Squeeze", [g.invariant(model.hidden_bias, x, "hb"), first], "hidden_bias")
        outputs += [("hidden_weight", [config.hidden, config.features]), ("hidden_bias", [config.hidden])]
    graph = helper.make_graph(
        g.nodes,
        "hypernetwork",
        [helper.make_tensor_value_info("classes", TensorProto.FLOAT, ["k", config.inputs])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs],
        g.constants,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()
