"""The parts of a full model that we wrote: its head, and its backbone as it was before the head came."""

from __future__ import annotations

import io
import zipfile

import numpy as np

from t2m_exporters.damage import damage
from t2m_exporters.tensor_names import FEATURES, HEAD
from t2m_runtime import onnx_wire as wire
from t2m_runtime.backbone_file import without_head
from t2m_runtime.errors import InputError
from t2m_runtime.head import MAX_FEATURES, Head, Layer, QuantizedHead, QuantizedLayer
from t2m_runtime.manifest import Manifest
from t2m_runtime.tflite_file import Tensor, read_constant, read_operator, read_tables, read_tensor

_ALIGNMENT = 16


def read_head(model: bytes, kind: str, manifest: Manifest) -> Head | QuantizedHead:
    """The head of a full model: a QuantizedHead of an int8 one, else the float head that its weights stand for.

    Args:
        model: an artifact's bytes; kind: "tflite" or "onnx".
        manifest: of the model.

    Raises:
        InputError: the model is not ours, or damaged.
    """
    read = _read_tflite if kind == "tflite" else _read_onnx
    with damage():
        try:
            return read(model, manifest)
        except KeyError as error:
            raise InputError(f"the model has no tensor {error}; it is no full model of t2m-edge") from None


def backbone_of(model: bytes, kind: str) -> bytes:
    """The backbone of a full model, ready for another head.

    Of a .tflite it is the very bytes of the pack's graph, which append_head_tflite left at the flatbuffer's end.

    Raises:
        InputError: the model is not ours, or damaged.
    """
    if kind == "onnx":
        whole = memoryview(without_head(model, kind)[0])
        return b"".join(whole[start:end] for number, _, start, _, end in wire.fields(whole) if number != 14)
    with damage(), zipfile.ZipFile(io.BytesIO(model)) as archive:
        end = min(entry.header_offset for entry in archive.infolist())
    place = end
    while (place := model.rfind(b"TFL3", 0, place)) > 4:
        start = place - 4
        if (end - start) % _ALIGNMENT == 0 and _is_backbone(model[start:end]):
            return model[start:end]
    raise InputError("the model holds no backbone of t2m-edge; compile it again")


def _is_backbone(data: bytes) -> bool:
    try:
        tables = read_tables(data)
        return [read_tensor(data, tables.tensors[i]).name for i in tables.outputs] == [FEATURES]
    except (InputError, IndexError):
        return False


def _read_tflite(model: bytes, manifest: Manifest) -> Head | QuantizedHead:
    tables = read_tables(model)
    tensors = [read_tensor(model, position) for position in tables.tensors]
    named = {tensor.name: tensor for tensor in tensors}

    def values(tensor: Tensor) -> np.ndarray:
        return read_constant(model, tables, tensor)

    def real(name: str) -> np.ndarray:
        if f"{name}/float16" in named:
            return values(named[f"{name}/float16"]).astype(np.float32)
        tensor = named[name]
        found = values(tensor)
        return found * np.float32(tensor.scale) if tensor.dtype == "int8" else found.astype(np.float32)

    if manifest.precision != "int8":
        names = [f"{HEAD}{n}" for n in ("hidden", "logits") if f"{HEAD}{n}/weight" in named]
        layers = [Layer(real(f"{name}/weight"), real(f"{name}/bias")) for name in names]
        return Head(manifest.labels, tuple(layers))
    # What each layer's operator gives, by the name of its weight.
    results = {}
    for position in tables.operators:
        _, inputs, outputs = read_operator(model, position)
        if len(inputs) == 3 and outputs and max(*inputs, *outputs) < len(tensors):
            results[tensors[inputs[1]].name] = tensors[outputs[0]]
    layers = []
    for name in (f"{HEAD}hidden", f"{HEAD}logits_int8"):
        if f"{name}/weight" not in named:
            continue
        weight, result = named[f"{name}/weight"], results[f"{name}/weight"]
        scale = np.asarray(weight.scales, np.float32)
        bias = values(named[f"{name}/bias"])
        layers.append(QuantizedLayer(values(weight), scale, bias, result.scale, result.zero_point))
    features = named[FEATURES]
    return QuantizedHead(manifest.labels, features.scale, features.zero_point, tuple(layers))


def _read_onnx(model: bytes, manifest: Manifest) -> Head | QuantizedHead:
    constants = _constants(model)

    def real(name: str) -> np.ndarray:
        if f"{name}/float16" in constants:
            return constants[f"{name}/float16"].astype(np.float32)
        if f"{name}_columns" in constants:
            stored = (constants[f"{name}_columns"] ^ np.uint8(128)).view(np.int8).T
            return np.ascontiguousarray(stored) * constants[f"{name}_scale"][:, None]
        return constants[name]

    names = [f"{HEAD}last"]
    if any(key.startswith(f"{HEAD}hidden/weight") for key in constants):
        names.insert(0, f"{HEAD}hidden")
    if manifest.precision != "int8":
        return Head(manifest.labels, tuple(Layer(real(f"{n}/weight"), real(f"{n}/bias")) for n in names))
    layers = [
        QuantizedLayer(
            (constants[f"{name}/weight_quantized"] ^ np.uint8(128)).view(np.int8),
            constants[f"{name}/weight_scale"],
            constants[f"{name}/bias_quantized"],
            float(constants[f"{name}/scale"]),
            int(constants[f"{name}/zero_point"]) - 128,
        )
        for name in names
    ]
    scale, zero_point = constants[f"{FEATURES}/scale"], constants[f"{FEATURES}/zero_point"]
    return QuantizedHead(manifest.labels, float(scale), int(zero_point), tuple(layers))


def _constants(model: bytes) -> dict[str, np.ndarray]:
    """Initializers of the head, and the features' scale and zero point."""
    found = {}
    graphs = wire.blocks(memoryview(model), 7)
    for message in wire.blocks(graphs[0], 5) if graphs else []:
        name = wire.text(b"".join(wire.blocks(message, 8)))
        if not name.startswith((HEAD, f"{FEATURES}/")):
            continue
        _, values = wire.constant(message)
        if values is None or max(values.shape, default=1) > MAX_FEATURES:
            raise InputError(f"the ONNX model's constant {name[:60]!r} is damaged; make it again")
        found[name] = values
    return found
