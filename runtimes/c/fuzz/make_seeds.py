"""Writes the seeds of the fuzz targets: real artifacts of a few kilobytes, and frames.

    python make_seeds.py FOLDER

makes FOLDER/model, FOLDER/head and FOLDER/frame. Needs t2m_exporters.
"""

from __future__ import annotations

import dataclasses
import struct
import sys
from pathlib import Path

import numpy as np

from t2m_exporters.graph import Add, Conv, Dense, DepthwiseConv, Graph, L2Normalize, Mean
from t2m_exporters.quantize import quantize_graph, quantize_head
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_runtime.artifact import save_head
from t2m_runtime.head import Head, Layer
from t2m_runtime.manifest import InputSpec, Manifest, OutputSpec, PackRef

FEATURES = 5


def graph(rng: np.random.Generator, wide: bool) -> Graph:
    """A backbone of a few operators on a 6 x 6 image; wide: all of them that we write."""

    def weight(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, shape).astype(np.float32)

    nodes = [Conv("c", "image", weight(FEATURES, 3, 3, 3), weight(FEATURES), 2, True)]
    if wide:
        nodes.append(DepthwiseConv("d", "c", weight(3, 3, FEATURES), weight(FEATURES), 1, True))
        nodes.append(Conv("e", "d", weight(FEATURES, 1, 1, FEATURES), weight(FEATURES), 1))
        nodes.append(Add("a", "c", "e", True))
    nodes.append(Mean("m", nodes[-1].name))
    if wide:
        nodes.append(Dense("f", "m", weight(FEATURES, FEATURES), weight(FEATURES), False))
    nodes.append(L2Normalize("u", nodes[-1].name))
    return Graph((6, 6, 3), (128.0,) * 3, (128.0,) * 3, tuple(nodes), "u")


def head(rng: np.random.Generator, hidden: bool, int8: bool):
    """A head of three labels."""
    sizes = ((4, FEATURES), (3, 4)) if hidden else ((3, FEATURES),)
    layers = tuple(Layer(rng.normal(0, 1, shape).astype(np.float32), np.zeros(shape[0], np.float32)) for shape in sizes)
    found = Head(("a", 'b"é\\', "c"), layers)
    return quantize_head(found, rng.integers(-128, 128, (9, FEATURES)).astype(np.int8), 1 / 128) if int8 else found


def manifest(labels: tuple[str, ...], precision: str, softmax: bool) -> Manifest:
    """What a compiled model says of itself."""
    return Manifest(
        schema_version=1,
        name="seed",
        labels=labels,
        thresholds=(0.5, None, 0.25),
        target="tflite",
        precision=precision,
        input=InputSpec(height=6, width=6),
        output=OutputSpec() if softmax else OutputSpec(scores="logits"),
        pack=PackRef("test", "1", "0" * 64),
        backbone_sha256="0" * 64,
        tool_version="0.1.0",
    )


def frame(number: int) -> bytes:
    """A frame as fuzz_frame.c reads one: each of its formats and rotations comes up."""
    kind = number % 9 + 10 * (number % 3) + 40 * (number % 4)
    planes = b"".join(struct.pack("<HHH", 0, 0, 60) for _ in range(3))
    return struct.pack("<HHH", kind, 9 + number, 7 + number) + planes + bytes(range(64))


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    folder, rng = Path(sys.argv[1]), np.random.default_rng(0)
    for name in ("model", "head", "frame"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for wide in (False, True):
        for int8 in (False, True):
            made = graph(rng, wide)
            written = quantize_graph(made, rng.integers(0, 256, (4, 6, 6, 3), np.uint8)) if int8 else made
            found = head(rng, wide, int8)
            facts = manifest(found.labels, "int8" if int8 else "fp32", softmax=not wide)
            name = f"{'wide' if wide else 'small'}-{facts.precision}"
            model = append_head_tflite(write_backbone_tflite(written), found, facts)
            (folder / "model" / name).write_bytes(model)
            (folder / "head" / name).write_bytes(save_head(found, dataclasses.replace(facts, target="head")))
    # The golden cases have the other ends of a graph, and .onnx files, of which the core reads the manifest.
    for case in sorted((Path(__file__).parents[2] / "conformance" / "cases").iterdir()):
        for name, kind in (("model.tflite", "model"), ("model.onnx", "model"), ("head.t2mh", "head")):
            if (case / name).exists():
                (folder / kind / f"{case.name}-{name}").write_bytes((case / name).read_bytes())
    for number in range(12):
        (folder / "frame" / str(number)).write_bytes(frame(number))
    return 0


if __name__ == "__main__":
    sys.exit(main())
