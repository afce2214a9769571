"""The last layer of a ``.tflite`` classifier from elsewhere: read, and written with more rows; all else is kept."""

from __future__ import annotations

import io
import zipfile
from typing import Any, NamedTuple

import flatbuffers
import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.last_layer import LastLayer, Rows, more_entries
from t2m_exporters.tflite_metadata import METADATA_NAME, labels_file, with_files
from t2m_exporters.tflite_tables import ALIGNMENT
from t2m_exporters.tflite_tree import read_tree
from t2m_runtime.engines.litert import without_announcement
from t2m_runtime.errors import InputError
from t2m_runtime.tflite_file import FILE_IDENTIFIER, TYPE_NAMES, field, scalar, tables_of, u32

_CONV, _DEQUANTIZE, _FULLY_CONNECTED, _RESHAPE = 3, 6, 9, 22
_TAIL = {_DEQUANTIZE, 14, _RESHAPE, 25, 43, 50, 114}
"""What may follow: DEQUANTIZE, LOGISTIC, RESHAPE, SOFTMAX, SQUEEZE, LOG_SOFTMAX, QUANTIZE."""
_AXIS_LABELS = 2
_BIAS_TYPES = {"float32": np.float32, "int8": np.int32, "uint8": np.int32}
"""Of a layer that reads features of a type."""
MAX_FILES = 64
MAX_FILE_BYTES = 2**24


class _Found(NamedTuple):
    """Operator number of the last layer, those after it, and the tensors of its weights and bias (-1: none)."""

    layer: int
    tail: tuple[int, ...]
    weight: int
    bias: int


def read_tflite(model: bytes) -> LastLayer:
    """The last layer of a classifier: FULLY_CONNECTED, or CONV_2D 1x1 on a 1x1 map.

    Labels are those of its TFLite Metadata.

    Raises:
        InputError: damaged, or it ends otherwise.
    """
    tree = read_tree(model)
    with damage():
        found = _find(tree, model)
        kind = "fully connected" if _code(tree, found.layer) == _FULLY_CONNECTED else "1x1 convolution"
        rows = _rows(tree, found)
        files, names = _label_files(tree, model)
        labels = None
        if names:
            labels = tuple(files[names[0]].decode("utf-8").splitlines())
        return LastLayer(rows, labels, kind)


def write_tflite(model: bytes, rows: Rows, labels: tuple[str, ...] | None) -> bytes:
    """The model with these rows in its last layer; labels of its metadata, where it has them, become ``labels``.

    A layer without a bias gets one.

    Raises:
        InputError: as ``read_tflite``, or a label cannot be in a labels file.
    """
    tree = read_tree(model)
    with damage():
        found = _find(tree, model)
        files, names = _label_files(tree, model)
        _put_rows(tree, found, rows)
        files |= {name: labels_file(labels) for name in names if labels is not None}
        data = _packed(tree)
        return with_files(data, files=files) if files else data


def cut_tflite(model: bytes, part: str) -> bytes:
    """A part of the model as a model: "logits" (image to logits), "features" (image to what the last layer reads), or
    "layer" (features to logits)."""
    tree = read_tree(model)
    with damage():
        found = _find(tree, model)
        graph = tree.subgraphs[0]
        layer = graph.operators[found.layer]
        graph.outputs = [int((layer.inputs if part == "features" else layer.outputs)[0])]
        dropped = {*found.tail, found.layer} if part == "features" else set(found.tail)
        if part == "layer":
            weights = set(_producers(graph, found.weight))
            dropped = {i for i in range(len(graph.operators)) if i != found.layer and i not in weights}
            graph.inputs = [int(layer.inputs[0])]
        graph.operators = [op for i, op in enumerate(graph.operators) if i not in dropped]
        tree.signatureDefs = None
        tree.metadata = None
        return _packed(tree)


def _find(tree: Any, model: bytes) -> _Found:
    graph = tree.subgraphs[0]
    if len(graph.outputs) != 1:
        raise InputError(f"the model has {len(graph.outputs)} outputs; a classifier has one")
    readers: dict[int, int] = {}
    producer: dict[int, int] = {}
    for number, operator in enumerate(graph.operators):
        for i in operator.inputs:
            readers[int(i)] = readers.get(int(i), 0) + 1
        for i in operator.outputs:
            producer[int(i)] = number
    place, tail = int(graph.outputs[0]), []
    while True:
        if place not in producer or len(tail) > 16:
            raise InputError("the model's output comes from no layer; it is no classifier")
        number = producer[place]
        operator, code = graph.operators[number], _code(tree, number)
        if tail and readers.get(place, 0) != 1:
            raise InputError("the model's logits go to more than one operator; rows can be added to no such model")
        if code in (_FULLY_CONNECTED, _CONV):
            break
        if code not in _TAIL:
            raise InputError(
                f"the model's last layer is {_operator_name(code)}; expected fully connected, or a 1x1 convolution "
                "on a 1x1 map"
            )
        tail.append(number)
        place = int(operator.inputs[0])
    if len(operator.inputs) < 2:
        raise InputError("the model's last layer has no weights; make it again")
    weight = int(operator.inputs[1])
    bias = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
    options = operator.builtinOptions
    if options is not None and getattr(options, "fusedActivationFunction", 0):
        raise InputError("the model's last layer ends in an activation such as ReLU, so its outputs are no logits")
    if getattr(options, "weightsFormat", 0):
        raise InputError("the last layer's weights are shuffled; convert the model without that")
    if readers[weight] != 1:
        raise InputError("the last layer's weights are used by another layer too; rows can be added to no such model")
    if code == _CONV:
        shape = [int(n) for n in graph.tensors[weight].shape]
        source, result = (_shape(graph, model, int(i)) for i in (operator.inputs[0], operator.outputs[0]))
        if shape[1:3] != [1, 1] or source[1:3] != [1, 1] or result[1:3] != [1, 1]:
            raise InputError(
                f"the model ends in a convolution of {shape[1]}x{shape[2]} on a map of "
                f"{'x'.join(map(str, source[1:3]))}; expected 1x1 on a 1x1 map"
            )
    return _Found(number, tuple(tail), weight, bias)


def _shape(graph: Any, model: bytes, index: int) -> list[int]:
    """Shape of a tensor; where the file leaves it open, as the engine finds it."""
    shape = graph.tensors[index].shape
    if shape is not None and len(shape):
        return [int(n) for n in shape]
    from ai_edge_litert.interpreter import Interpreter

    with without_announcement():
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    return [int(n) for n in next(t for t in interpreter.get_tensor_details() if t["index"] == index)["shape"]]


def _code(tree: Any, number: int) -> int:
    code = tree.operatorCodes[tree.subgraphs[0].operators[number].opcodeIndex]
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def _operator_name(code: int) -> str:
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    return names.get(code, f"operator {code}")


def _producers(graph: Any, tensor: int) -> list[int]:
    """Numbers of the operators that give a tensor: a DEQUANTIZE of float16 weights, or none."""
    return [i for i, op in enumerate(graph.operators) if tensor in op.outputs]


def _source(tree: Any, index: int) -> int:
    """The constant behind a tensor: itself, or what a DEQUANTIZE makes it of."""
    graph = tree.subgraphs[0]
    for number in _producers(graph, index):
        if _code(tree, number) == _DEQUANTIZE:
            return int(graph.operators[number].inputs[0])
    return index


def _values(tree: Any, index: int, what: str) -> np.ndarray:
    tensor = tree.subgraphs[0].tensors[index]
    dtype = TYPE_NAMES.get(tensor.type)
    data = tree.buffers[tensor.buffer].data
    if dtype is None or data is None or not len(data) or getattr(tensor, "sparsity", None) is not None:
        raise InputError(f"the last layer's {what} are no plain constant; convert the model without packing them")
    return np.asarray(data, np.uint8).view(np.dtype(dtype).newbyteorder("<")).reshape(tensor.shape)


def _rows(tree: Any, found: _Found) -> Rows:
    graph = tree.subgraphs[0]
    place = _source(tree, found.weight)
    tensor = graph.tensors[place]
    weight = _values(tree, place, "weights")
    weight = weight.reshape(weight.shape[0], -1)
    scale = zero = None
    quantization = tensor.quantization
    if quantization is not None and quantization.scale is not None and len(quantization.scale):
        scale = np.asarray(quantization.scale, np.float32)
        zeros = quantization.zeroPoint
        zero = np.zeros(len(scale), np.int64) if zeros is None or not len(zeros) else np.asarray(zeros, np.int64)
        if len(scale) > 1 and quantization.quantizedDimension != 0:
            raise InputError("the last layer's scales do not belong to its rows; make the model again")
    source = graph.tensors[int(graph.operators[found.layer].inputs[0])]
    features = source.quantization
    known = features is not None and features.scale is not None and len(features.scale) == 1
    input_scale = float(features.scale[0]) if known else 0.0
    if found.bias >= 0:
        bias = _values(tree, _source(tree, found.bias), "biases").reshape(-1)
    else:
        kind = _BIAS_TYPES.get(TYPE_NAMES.get(source.type))
        fits = kind is np.float32 or (kind is np.int32 and scale is not None and input_scale > 0)
        bias = np.zeros(len(weight), kind) if fits else None
    return Rows(weight, bias, scale, zero, input_scale)


def _put_rows(tree: Any, found: _Found, rows: Rows) -> None:
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    before = int(graph.tensors[found.weight].shape[0])
    after = len(rows.weight)

    def put(index: int, values: np.ndarray) -> None:
        place = _source(tree, index)
        tensor = graph.tensors[place]
        buffer = schema.BufferT()
        buffer.data = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        old, tensor.buffer = tensor.buffer, len(tree.buffers)
        tree.buffers.append(buffer)
        for i in {place, index}:
            graph.tensors[i].shape = [after, *list(graph.tensors[i].shape)[1:]]
            if graph.tensors[i].shapeSignature is not None and len(graph.tensors[i].shapeSignature):
                graph.tensors[i].shapeSignature = graph.tensors[i].shape
        if old and not any(t.buffer == old for t in graph.tensors):
            tree.buffers[old].data = None

    put(found.weight, rows.weight)
    if found.bias >= 0:
        put(found.bias, rows.bias)
    elif rows.bias is not None:
        _give_bias(tree, graph.operators[found.layer], rows)
    if rows.scale is not None and len(rows.scale) > 1:
        facts = [(found.weight, rows.scale, rows.zero_point)]
        if found.bias >= 0 and rows.bias.dtype == np.int32:
            facts.append((found.bias, rows.bias_scale.astype(np.float32), np.zeros(after, np.int64)))
        for index, scale, zero in facts:
            quantization = graph.tensors[index].quantization
            quantization.scale, quantization.zeroPoint = scale, zero
            # Ranges of the training, a pair a row, that no engine reads.
            quantization.min = quantization.max = None
    for number in (found.layer, *found.tail):
        operator = graph.operators[number]
        for index in operator.outputs:
            tensor = graph.tensors[int(index)]
            for what in ("shape", "shapeSignature"):
                value = getattr(tensor, what)
                if value is not None and len(value):
                    setattr(tensor, what, more_entries([int(n) for n in value], before, after))
        if number == found.layer or _code(tree, number) != _RESHAPE:
            continue
        options = operator.builtinOptions
        if options is not None and options.newShape is not None:
            options.newShape = more_entries([int(n) for n in options.newShape], before, after)
        if len(operator.inputs) > 1:
            sizes = graph.tensors[int(operator.inputs[1])]
            buffer = schema.BufferT()
            old = np.asarray(tree.buffers[sizes.buffer].data, np.uint8).view("<i4")
            buffer.data = np.array(more_entries(old.tolist(), before, after), "<i4").view(np.uint8)
            sizes.buffer = len(tree.buffers)
            tree.buffers.append(buffer)


def _give_bias(tree: Any, layer: Any, rows: Rows) -> None:
    from ai_edge_litert import schema_py_generated as schema

    graph = tree.subgraphs[0]
    tensor, buffer = schema.TensorT(), schema.BufferT()
    tensor.name, tensor.shape, tensor.buffer = "bias", [len(rows.bias)], len(tree.buffers)
    tensor.type = schema.TensorType.FLOAT32
    if rows.bias.dtype == np.int32:
        tensor.type = schema.TensorType.INT32
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = rows.bias_scale.astype(np.float32)
        tensor.quantization.zeroPoint = np.zeros(len(rows.scale), np.int64)
    buffer.data = rows.bias.view(np.uint8)
    tree.buffers.append(buffer)
    layer.inputs = [int(i) for i in layer.inputs[:2]] + [len(graph.tensors)]
    graph.tensors.append(tensor)


class _Aligned:
    """A Buffer as schema.fbs wants it (force_align: 16), which the generated module's own packing forgets."""

    def __init__(self, data: Any) -> None:
        self._data = b"" if data is None else np.asarray(data, np.uint8).tobytes()

    def Pack(self, b: flatbuffers.Builder) -> int:
        vector = None
        if self._data:
            b.StartVector(1, len(self._data), ALIGNMENT)
            b.head -= len(self._data)
            b.Bytes[b.head : b.head + len(self._data)] = self._data
            vector = b.EndVector()
        b.StartObject(1)
        if vector is not None:
            b.PrependUOffsetTRelativeSlot(0, vector, 0)
        return b.EndObject()


def _packed(tree: Any) -> bytes:
    """The file of a tree with all that it holds, buffers in their order."""
    sizes = sum(len(buffer.data) for buffer in tree.buffers if buffer.data is not None)
    builder = flatbuffers.Builder(sizes + 65536)
    tree.buffers = [_Aligned(buffer.data) for buffer in tree.buffers]
    builder.Finish(tree.Pack(builder), FILE_IDENTIFIER)
    return bytes(builder.Output())


def _label_files(tree: Any, model: bytes) -> tuple[dict[str, bytes], list[str]]:
    """The associated files at the model's end, and the names of those that hold the labels of its first output."""
    files: dict[str, bytes] = {}
    if model.rfind(b"PK\x05\x06", max(0, len(model) - 65557)) >= 0:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_FILES or any(entry.file_size > MAX_FILE_BYTES for entry in entries):
                raise InputError("the files at the model's end are too many or too large; make the model again")
            files = {entry.filename: archive.read(entry) for entry in entries}
    for entry in tree.metadata or []:
        if (entry.name or b"").decode() == METADATA_NAME:
            raw = tree.buffers[entry.buffer].data
            data = b"" if raw is None else np.asarray(raw, np.uint8).tobytes()
            return files, [name for name in _axis_labels(data) if name in files]
    return files, []


def _axis_labels(metadata: bytes) -> list[str]:
    """Names of the label files in a ModelMetadata (slots as in metadata_schema.fbs; see tflite_metadata.py)."""
    names = []
    for subgraph in tables_of(metadata, u32(metadata, 0), 3)[:1]:
        for output in tables_of(metadata, subgraph, 3)[:1]:
            for file in tables_of(metadata, output, 6):
                at = field(metadata, file, 0)
                if at and scalar(metadata, file, 2, "<b", 0) == _AXIS_LABELS:
                    start = at + u32(metadata, at)
                    names.append(metadata[start + 4 : start + 4 + u32(metadata, start)].decode())
    return names
