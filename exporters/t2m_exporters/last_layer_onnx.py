"""The last layer of an ``.onnx`` classifier from elsewhere: read, and written with more rows; all else is kept."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.last_layer import FLOATS, LastLayer, Rows, more_entries
from t2m_runtime.errors import InputError

LABELS_KEY = "labels"
_TAIL = {
    "Cast", "DequantizeLinear", "Flatten", "Identity", "LogSoftmax", "QuantizeLinear", "Reshape", "Sigmoid",
    "Softmax", "Squeeze",
}  # fmt: skip
_LAYERS = {"Gemm": "fully connected", "MatMul": "fully connected", "Conv": "1x1 convolution"}


class _Found(NamedTuple):
    """The last layer, the Add of its bias where that is a node of its own, what follows, and its stored constants.

    flipped: whether the weights are stored (features, classes).
    """

    layer: Any
    add: Any
    tail: tuple[Any, ...]
    weight: str
    bias: str | None
    flipped: bool


def read_onnx(model: bytes) -> LastLayer:
    """The last layer of a classifier: Gemm, MatMul (+ Add), or Conv 1x1 on a 1x1 map, in floats or between
    QuantizeLinear and DequantizeLinear.

    Labels are those of the metadata property "labels", a JSON list, which our own exporter writes.

    Raises:
        InputError: damaged, or it ends otherwise.
    """
    tree = _load(model)
    with damage():
        found = _find(tree)
        return LastLayer(_rows(tree, found), _labels(tree), _LAYERS[found.layer.op_type])


def write_onnx(model: bytes, rows: Rows, labels: tuple[str, ...] | None) -> bytes:
    """The model with these rows in its last layer; labels of its metadata, where it has them, become ``labels``.

    A float layer without a bias gets one: as its third input, or in an Add behind a MatMul.

    Raises:
        InputError: as ``read_onnx``.
    """
    from onnx import numpy_helper

    tree = _load(model)
    with damage():
        found = _find(tree)
        before, after = len(_rows(tree, found).weight), len(rows.weight)
        graph = tree.graph
        constants = {tensor.name: tensor for tensor in graph.initializer}

        def put(name: str, values: np.ndarray) -> None:
            constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), name))

        stored = rows.weight.T if found.flipped else rows.weight
        shape = list(constants[found.weight].dims)
        put(found.weight, stored.reshape(*stored.shape, *shape[2:]))
        if found.bias is not None:
            put(found.bias, rows.bias.reshape(more_entries(list(constants[found.bias].dims), before, after)))
        for name, form in ((_of_row(found, 1), None), (_of_row(found, 2), "bias")):
            node = _producer(tree, name, "DequantizeLinear") if name else None
            if node is None or rows.scale is None or len(rows.scale) == 1:
                continue
            scale = rows.scale if form is None else rows.bias_scale.astype(np.float32)
            zero = rows.zero_point if form is None else np.zeros(after)
            put(node.input[1], scale)
            if len(node.input) > 2 and node.input[2]:
                put(node.input[2], zero.astype(numpy_helper.to_array(constants[node.input[2]]).dtype))
        for node in found.tail:
            if node.op_type == "Reshape":
                sizes = numpy_helper.to_array(constants[node.input[1]])
                put(node.input[1], np.array(more_entries(sizes.tolist(), before, after), np.int64))
        changed = {o for node in (found.layer, found.add, *found.tail) if node is not None for o in node.output}
        # Shapes of constants and of what a DequantizeLinear makes of them are the engine's to find.
        kept = [v for v in graph.value_info if not ({v.name} & {*changed, *found.layer.input, found.weight})]
        del graph.value_info[:]
        graph.value_info.extend(kept)
        for value in (*graph.output, *graph.input):
            if value.name not in changed and value.name not in (found.weight, found.bias):
                continue
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_value == before:
                    dim.dim_value = after
        for entry in tree.metadata_props:
            if entry.key == LABELS_KEY and labels is not None and _labels(tree) is not None:
                entry.value = json.dumps(labels, ensure_ascii=False)
        if found.bias is None and rows.bias is not None:
            _give_bias(tree, found, rows.bias)
        return tree.SerializeToString(deterministic=True)


def cut_onnx(model: bytes, part: str) -> bytes:
    """A part of the model as a model: "logits" (image to logits) or "features" (image to the last layer's input)."""
    from onnx import TensorProto, helper

    tree = _load(model)
    with damage():
        found = _find(tree)
        last = found.layer if found.add is None else found.add
        result = found.layer.input[0] if part == "features" else last.output[0]
        dropped = (*found.tail, *((found.layer, found.add) if part == "features" else ()))
        kept = [node for node in tree.graph.node if not any(node is other for other in dropped)]
        kind = TensorProto.FLOAT16 if _runs_in_half(tree, found) else TensorProto.FLOAT
        del tree.graph.node[:], tree.graph.output[:]
        tree.graph.node.extend(kept)
        tree.graph.output.append(helper.make_tensor_value_info(result, kind, None))
        return tree.SerializeToString(deterministic=True)


def _runs_in_half(tree: Any, found: _Found) -> bool:
    """Whether the layer computes in float16: its stored weights are, and no Cast stands between."""
    stored = next(t for t in tree.graph.initializer if t.name == found.weight)
    return stored.data_type == 10 and found.layer.input[1] == found.weight


def _load(model: bytes) -> Any:
    import onnx

    with damage():
        tree = onnx.load_from_string(model)
        if any(t.data_location == onnx.TensorProto.EXTERNAL for t in tree.graph.initializer):
            raise InputError("the ONNX model keeps constants in other files; save it as one file")
    if not tree.graph.node:
        raise InputError("the ONNX model has no graph; make it again")
    return tree


def _find(tree: Any) -> _Found:
    graph = tree.graph
    if len(graph.output) != 1:
        raise InputError(f"the model has {len(graph.output)} outputs; a classifier has one")
    producer = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    place, tail, add = graph.output[0].name, [], None
    while True:
        if place not in producer or len(tail) > 16:
            raise InputError("the model's output comes from no layer; it is no classifier")
        node = producer[place]
        if (tail or add) and readers.get(place, 0) != 1:
            raise InputError("the model's logits go to more than one node; rows can be added to no such model")
        if node.op_type in _LAYERS:
            break
        if node.op_type == "Add" and add is None:
            behind = [name for name in node.input if _stored(tree, producer, constants, name) is None]
            if len(behind) == 1 and behind[0] in producer and producer[behind[0]].op_type == "MatMul":
                add, place = node, behind[0]
                continue
        if node.op_type not in _TAIL:
            raise InputError(
                f"the model's last layer is {node.op_type[:40]}; expected Gemm, MatMul, or Conv 1x1 on a 1x1 map"
            )
        tail.append(node)
        place = node.input[0]
    weight = _stored(tree, producer, constants, node.input[1]) if len(node.input) > 1 else None
    bias_input = next((n for n in add.input if n != place), None) if add is not None else None
    if add is None and len(node.input) > 2 and node.input[2]:
        bias_input = node.input[2]
    bias = None if bias_input is None else _stored(tree, producer, constants, bias_input)
    if weight is None or (bias_input is not None and bias is None):
        raise InputError("the last layer's weights are no constants of the file; export the model with them")
    if any(readers.get(name, 0) != 1 for name in (weight, bias) if name):
        raise InputError("the last layer's weights are used by another layer too; rows can be added to no such model")
    return _Found(node, add, tuple(tail), weight, bias, _is_flipped(tree, node))


def _is_flipped(tree: Any, node: Any) -> bool:
    from onnx import helper

    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "MatMul":
        return True
    if node.op_type == "Gemm":
        if options.get("transA", 0) or options.get("alpha", 1.0) != 1 or options.get("beta", 1.0) != 1:
            raise InputError("the last layer's Gemm scales or turns its input; export the model without that")
        return not options.get("transB", 0)
    from onnx import shape_inference

    inferred = shape_inference.infer_shapes(tree).graph
    shapes = {v.name: v for v in (*inferred.value_info, *inferred.input, *inferred.output)}
    maps = [
        [d.dim_value for d in shapes[n].type.tensor_type.shape.dim][2:] if n in shapes else []
        for n in (node.input[0], node.output[0])
    ]
    kernel = options.get("kernel_shape", [])
    if any(m != [1, 1] for m in maps) or list(kernel) not in ([], [1, 1]) or options.get("group", 1) != 1:
        found = "x".join(map(str, maps[0])) or "unknown size"
        raise InputError(f"the model ends in a convolution on a map of {found}; expected 1x1 on a 1x1 map")
    return False


def _stored(tree: Any, producer: dict[str, Any], constants: set[str], name: str) -> str | None:
    """The initializer behind a name: itself, or what a DequantizeLinear or a Cast makes of it."""
    node = producer.get(name)
    if node is not None and node.op_type in ("DequantizeLinear", "Cast") and node.input[0] in constants:
        return node.input[0]
    return name if name in constants else None


def _producer(tree: Any, name: str, kind: str) -> Any:
    return next((node for node in tree.graph.node if name in node.output and node.op_type == kind), None)


def _of_row(found: _Found, number: int) -> str | None:
    """Input 1 (weights) or 2 (bias) of the last layer, an Add's constant counting as the latter."""
    if number == 2 and found.add is not None:
        return next(name for name in found.add.input if name != found.layer.output[0])
    return found.layer.input[number] if len(found.layer.input) > number else None


def _rows(tree: Any, found: _Found) -> Rows:
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in tree.graph.initializer}

    def value(name: str) -> np.ndarray:
        if name not in constants:
            raise InputError("the last layer's scales are no constants of the file; export the model with them")
        return numpy_helper.to_array(constants[name])

    weight = value(found.weight)
    k = weight.shape[1] if found.flipped and weight.ndim > 1 else len(weight) if weight.ndim else 0
    if found.layer.op_type == "Conv" and weight.shape[2:] != (1, 1):
        raise InputError(f"the model ends in a convolution of {weight.shape[2:]}; expected 1x1 on a 1x1 map")
    weight = weight.reshape(*weight.shape[:2])
    weight = weight.T if found.flipped else weight
    scale = zero = None
    dequantize = _producer(tree, found.layer.input[1], "DequantizeLinear")
    if dequantize is not None:
        scale = value(dequantize.input[1]).astype(np.float32).reshape(-1)
        given = len(dequantize.input) > 2 and dequantize.input[2]
        zero = value(dequantize.input[2]).astype(np.int64).reshape(-1) if given else np.zeros(len(scale), np.int64)
        axis = next((helper.get_attribute_value(a) for a in dequantize.attribute if a.name == "axis"), 1)
        if len(scale) > 1 and axis % 2 != int(found.flipped):
            raise InputError("the last layer's scales do not belong to its rows; make the model again")
    bias = _zeros(tree, found, k) if found.bias is None else value(found.bias).reshape(-1)
    input_scale = 0.0
    bias_name = _of_row(found, 2)
    node = _producer(tree, bias_name, "DequantizeLinear") if bias_name else None
    if node is not None and scale is not None:
        # A quantiser writes scale_of_features * scale_of_weights there.
        input_scale = float(value(node.input[1]).reshape(-1)[0]) / float(scale[0])
    if bias is not None and len(bias) != k:
        raise InputError(f"the last layer has {k} rows and {len(bias)} biases; export the model with one a row")
    return Rows(weight, bias, scale, zero, input_scale)


def _zeros(tree: Any, found: _Found, k: int) -> np.ndarray | None:
    """The bias (k,) that a layer without one could be given, in the type that it computes in.

    None for quantised weights: with one more node, engines may run the layer in other arithmetic.
    """
    from onnx import helper

    name = found.layer.input[1]
    kind = next(t.data_type for t in tree.graph.initializer if t.name == found.weight)
    if name != found.weight:
        cast = _producer(tree, name, "Cast")
        if cast is None:
            return None
        kind = next(helper.get_attribute_value(a) for a in cast.attribute if a.name == "to")
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    return np.zeros(k, dtype) if str(dtype) in FLOATS else None


def _give_bias(tree: Any, found: _Found, bias: np.ndarray) -> None:
    from onnx import helper, numpy_helper

    graph, layer = tree.graph, found.layer
    name = _unused(graph, f"{found.weight}_bias")
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(bias), name))
    if tree.ir_version < 4:
        # There, every constant is an input with a default.
        kind = helper.np_dtype_to_tensor_dtype(bias.dtype)
        graph.input.append(helper.make_tensor_value_info(name, kind, bias.shape))
    if layer.op_type != "MatMul":
        del layer.input[2:]
        layer.input.append(name)
        return
    sums, logits = _unused(graph, f"{layer.output[0]}_without_bias"), layer.output[0]
    layer.output[0] = sums
    place = next(i for i, node in enumerate(graph.node) if sums in node.output)
    graph.node.insert(place + 1, helper.make_node("Add", [sums, name], [logits]))


def _unused(graph: Any, name: str) -> str:
    taken = {n for node in graph.node for n in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.initializer, *graph.input, *graph.output)}
    while name in taken:
        name += "_"
    return name


def _labels(tree: Any) -> tuple[str, ...] | None:
    for entry in tree.metadata_props:
        if entry.key == LABELS_KEY:
            try:
                found = json.loads(entry.value)
            except (ValueError, RecursionError):
                return None
            if isinstance(found, list) and all(isinstance(name, str) for name in found):
                return tuple(found)
    return None
