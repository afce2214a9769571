"""Writes the golden cases that every runtime must reproduce: model and camera frame in, tensors and answer out.

    python make_cases.py [FOLDER]

A case is a folder under cases/:

    case.json       the frame, and the answer: labels, best and present classes, rejected, arena size, tolerance
    model.tflite    what t2m-edge wrote; head.t2mh where another head is swapped in
    model.onnx      the same model, where none is
    plane0.bin ...  the planes of the frame
    input.bin       uint8 (height, width, 3): the prepared frame, to be met bit for bit
    features.bin    int8 or float32 (d,): the backbone's output; int8 to be met bit for bit by the C core
    scores.bin      float32 (k,); of a model that gives integers, those of its float twin

Expected values come from t2m_runtime's preparation and LiteRT's reference kernels, never from the core under test.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from pathlib import Path

import numpy as np

from t2m_exporters.fit import output_quantization
from t2m_exporters.graph import Add, Conv, Dense, DepthwiseConv, Graph, L2Normalize, Mean
from t2m_exporters.onnx import append_head_onnx, write_backbone_onnx
from t2m_exporters.quantize import quantize_graph, quantize_head
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_runtime import prepare
from t2m_runtime.arena import Room, arena_size
from t2m_runtime.artifact import save_head
from t2m_runtime.frames import Frame, frame_to_rgb
from t2m_runtime.head import Head, Layer, QuantizedHead
from t2m_runtime.manifest import NONE_LABEL, InputSpec, Manifest, OutputSpec, PackRef

CASES = Path(__file__).parent / "cases"
LABELS = ("zebra", "Großer Panda", 'the "quoted" \\ one', "馬", "🦊 fox")
SCORES_TOLERANCE = 2e-6
"""Relative: what a float SOFTMAX with another exponential may differ by."""
OTHER_ENGINES = 0.03
"""Absolute, for scores of engines whose int8 kernels round in another way."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One case: a model's form, and the frame that it sees."""

    name: str
    frame: Frame
    precision: str = "int8"
    crop: str = "center"
    scores: str = "softmax"
    depthwise: bool = False
    hidden: int = 0
    swapped: bool = False
    dtype: str = "float32"
    reject: bool = False
    thresholds: tuple[float | None, ...] = (None,) * len(LABELS)


def cases() -> list[Case]:
    """All cases; together they hold every frame format, rotation, operator, head form and kind of score."""
    return [
        Case("int8-rgb", frame("rgb", 40, 30, gap=5)),
        Case("int8-nv21-rotated", frame("nv21", 37, 53, rotation=90, gap=3), thresholds=(0.999,) * len(LABELS)),
        Case("int8-nv12-limited", frame("nv12", 64, 48, rotation=180, yuv="bt601-limited"), thresholds=(0.0,) * 5),
        Case("int8-i420-step", frame("i420", 31, 31, rotation=270, more=1, yuv="bt709-limited"), depthwise=True),
        Case("int8-rgba-stretch", frame("rgba", 20, 50), crop="stretch"),
        Case("int8-bgra-logits", frame("bgra", 9, 12), scores="logits"),
        Case("int8-hidden-head", frame("rgbx", 24, 24), hidden=7),
        Case("int8-swapped-head", frame("bgrx", 90, 70, rotation=90), swapped=True, hidden=9),
        Case("int8-reject", frame("nv21", 52, 44, rotation=180), reject=True),
        Case("int8-multi-label", frame("rgb", 28, 36), scores="sigmoid", thresholds=(0.1, None, 0.25, None, 0.9)),
        Case("int8-multi-label-none", frame("rgb", 28, 36), scores="sigmoid", thresholds=(0.999,) * 5),
        Case("int8-uint8-scores", frame("i420", 46, 40), dtype="uint8", thresholds=(0.1,) * 5),
        Case("int8-int8-logits", frame("nv12", 40, 46), dtype="int8", scores="logits"),
        Case("fp32-multi-label", frame("bgra", 30, 30), precision="fp32", scores="sigmoid"),
        Case("fp32-gray", frame("gray", 33, 64), precision="fp32"),
        Case("fp32-swapped-head", frame("nv21", 48, 48), precision="fp32", swapped=True, depthwise=True),
    ]


def frame(kind: str, width: int, height: int, rotation: int = 0, gap: int = 0, more: int = 0, **other) -> Frame:
    """A smooth picture with some noise, in a format; ``gap`` bytes after each row, ``more`` after each sample."""
    rng = np.random.default_rng(width * 100 + height)
    planes, strides, steps = [], [], []
    for index in range({"nv12": 2, "nv21": 2, "i420": 3}.get(kind, 1)):
        columns, rows = ((width + 1) // 2, (height + 1) // 2) if index else (width, height)
        size = {"rgb": 3, "gray": 1, "i420": 1, "nv12": 1 + (index > 0), "nv21": 1 + (index > 0)}.get(kind, 4)
        step = size + more
        stride = columns * step + gap
        y, x, c = np.mgrid[0:rows, 0:columns, 0:size]
        wave = 128 + 90 * np.sin(x / columns * (3 + c) + index) * np.cos(y / rows * (2 + index))
        plane = np.zeros((rows, stride), np.uint8)
        samples = np.clip(wave + rng.normal(0, 12, wave.shape), 0, 255).astype(np.uint8)
        places = (np.arange(columns) * step)[:, None] + np.arange(size)
        plane[:, places.reshape(-1)] = samples.reshape(rows, -1)
        planes.append(plane.tobytes())
        strides.append(stride)
        steps.append(step)
    return Frame(kind, width, height, tuple(planes), tuple(strides), tuple(steps), rotation, **other)


def backbone(depthwise: bool) -> Graph:
    """A small residual network of 24 x 24 pixels and 20 unit features."""
    rng = np.random.default_rng(7 + depthwise)

    def conv(name: str, source: str, out: int, side: int, inputs: int, stride: int, relu: bool) -> Conv:
        weight = rng.normal(0, np.sqrt(2 / (side * side * inputs)), (out, side, side, inputs)).astype(np.float32)
        return Conv(name, source, weight, rng.normal(0, 0.1, out).astype(np.float32), stride, relu)

    nodes = [conv("stem", "image", 8, 3, 3, 2, True)]
    if depthwise:
        weight = rng.normal(0, 0.4, (3, 3, 8)).astype(np.float32)
        nodes.append(DepthwiseConv("wise", "stem", weight, np.zeros(8, np.float32), 1, True))
    last = nodes[-1].name
    nodes += [
        conv("first", last, 18, 3, 8, 2, True),
        conv("second", "first", 18, 3, 18, 1, False),
        conv("short", last, 18, 1, 8, 2, False),
        Add("block", "second", "short", True),
        Mean("pooled", "block"),
        Dense("project", "pooled", rng.normal(0, 0.5, (20, 18)).astype(np.float32), np.zeros(20, np.float32)),
        L2Normalize("unit", "project"),
    ]
    return Graph((24, 24, 3), (128.0,) * 3, (128.0,) * 3, tuple(nodes), "unit")


def random_head(labels: tuple[str, ...], hidden: int, seed: int) -> Head:
    """A head with random weights and scores that differ."""
    rng = np.random.default_rng(seed)
    sizes = (20, hidden, len(labels)) if hidden else (20, len(labels))
    layers = []
    for width, out in itertools.pairwise(sizes):
        layers.append(
            Layer(rng.normal(0, 2, (out, width)).astype(np.float32), rng.normal(0, 1, out).astype(np.float32))
        )
    return Head(labels, tuple(layers))


def write(case: Case, folder: Path) -> None:
    """Makes one case's model, runs LiteRT's reference kernels on it, and writes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    graph, rng = backbone(case.depthwise), np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 24, 24, 3), np.uint8)
    int8 = case.precision == "int8"
    source = quantize_graph(graph, images) if int8 else graph
    features = rng.integers(-90, 90, (64, 20)).astype(np.int8)

    def form(head: Head) -> Head | QuantizedHead:
        return quantize_head(head, features, 1 / 128) if int8 else head

    wanted = random_head(LABELS, case.hidden, seed=1)
    labels, thresholds = LABELS, case.thresholds
    if case.reject:
        # As t2m_edge.compiler.rejecting makes it: a row of zeros, a constant logit, a threshold that nothing reaches.
        last = wanted.layers[-1]
        none = Layer(np.vstack([last.weight, np.zeros_like(last.weight[:1])]), np.append(last.bias, np.float32(5)))
        labels, thresholds = (*LABELS, NONE_LABEL), (*case.thresholds, 1e9)
        wanted = Head(labels, (*wanted.layers[:-1], none))
    manifest = Manifest(
        schema_version=1,
        name=case.name,
        labels=labels,
        thresholds=thresholds,
        target="tflite",
        precision=case.precision,
        input=InputSpec(height=24, width=24, crop=case.crop),
        output=OutputSpec(scores=case.scores),
        pack=PackRef("conformance", "1", "0" * 64),
        backbone_sha256="1" * 64,
        tool_version="0.1.0",
    )
    bytes_, wanted = write_backbone_tflite(source), form(wanted)
    expected = model = append_head_tflite(bytes_, wanted, manifest)
    if case.dtype != "float32":
        spec = output_quantization(wanted, case.dtype, case.scores)
        manifest = dataclasses.replace(manifest, output=OutputSpec(case.dtype, case.scores, *spec))
        model = append_head_tflite(bytes_, wanted, manifest)
    if case.swapped:
        first = Head(("one", "two"), random_head(("one", "two"), 0, seed=2).layers)
        changes = {"labels": first.labels, "thresholds": (None, None)}
        model = append_head_tflite(bytes_, form(first), dataclasses.replace(manifest, **changes))
        (folder / "head.t2mh").write_bytes(save_head(wanted, dataclasses.replace(manifest, target="head")))
    else:
        onnx = append_head_onnx(write_backbone_onnx(source), wanted, dataclasses.replace(manifest, target="onnx"))
        (folder / "model.onnx").write_bytes(onnx)
    (folder / "model.tflite").write_bytes(model)
    for index, plane in enumerate(case.frame.planes):
        (folder / f"plane{index}.bin").write_bytes(plane)

    image = prepare(frame_to_rgb(case.frame), 24, 24, case.crop)
    found, scores = _litert(expected, image)
    (folder / "input.bin").write_bytes(image.tobytes())
    (folder / "features.bin").write_bytes(found.tobytes())
    (folder / "scores.bin").write_bytes(scores.tobytes())
    order = [int(index) for index in np.argsort(-scores, kind="stable")]
    limits = [-np.inf if limit is None else limit for limit in thresholds]
    if case.scores == "sigmoid":
        limits = [0.5 if limit is None else limit for limit in thresholds]
    present = [index for index in order if scores[index] >= limits[index]]
    facts = {
        "schema_version": 1,
        "frame": {
            "format": case.frame.format,
            "yuv": case.frame.yuv,
            "width": case.frame.width,
            "height": case.frame.height,
            "rotation": case.frame.rotation,
            "strides": list(case.frame.strides),
            "steps": list(case.frame.steps),
        },
        "precision": case.precision,
        "labels": list(labels),
        "top": order,
        "present": present,
        "rejected": not present if case.scores == "sigmoid" else order[0] not in present,
        "room": {"labels": len(labels), "hidden": case.hidden},
        "arena_size": arena_size(model, Room(len(labels), case.hidden)),
        "scores_relative_tolerance": SCORES_TOLERANCE,
        "other_engines_tolerance": OTHER_ENGINES,
    }
    (folder / "case.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _litert(model: bytes, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(features, scores) of LiteRT's reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_content=model,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[None])
    interpreter.invoke()
    places = {item["name"]: item["index"] for item in interpreter.get_tensor_details()}
    scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
    return interpreter.get_tensor(places["features"])[0], scores


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else CASES
    for case in cases():
        write(case, folder / case.name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
