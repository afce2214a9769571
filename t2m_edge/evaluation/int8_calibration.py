"""What calibration images do to an int8 backbone: ``python -m t2m_edge.evaluation.int8_calibration --backbone FILE``.

One float backbone, quantised four times: ranges measured on random noise, on images synthesised from its batch
normalisations (ZeroQ), on the same number of real training images, and on as many as ``pack build`` takes. Each int8
form is compared with the float one on test images of classes that the backbone has learned.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

from t2m_edge.backbones.folding import backbone_graph
from t2m_edge.backbones.resnet import INPUT_SIDE
from t2m_edge.backbones.synthesis import IMAGES, STEPS, synthesise
from t2m_edge.backbones.transform import fit_transform
from t2m_edge.evaluation.commands import Parser, command, file, folder, own_folder, positive, some_of
from t2m_edge.evaluation.sources import need_data
from t2m_edge.training.backbone import load_backbone
from t2m_edge.training.datasets import ImageSet, load_images
from t2m_edge.training.features import int8_features, pooled_features, prepared, some_of_each
from t2m_edge.training.packing import CALIBRATION_IMAGES
from t2m_edge.training.splits import DATASETS
from t2m_exporters.graph import run
from t2m_exporters.quantize import quantize_graph
from t2m_exporters.ranges import METHODS
from t2m_exporters.tflite import write_backbone_tflite

FEATURES = 256
FITTING = 20
TEST = {"cifar100": 20, "grocery": 12}
"""Test images of each class."""


def noise(count: int, seed: int = 0) -> np.ndarray:
    """Gaussian pixels about mid grey, uint8 (count, 96, 96, 3)."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal(128, 64, (count, INPUT_SIDE, INPUT_SIDE, 3)), 0, 255).astype(np.uint8)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the rows of two tables."""
    return (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)


def nearest(features: np.ndarray, prototypes: np.ndarray) -> np.ndarray:
    """Number of the nearest prototype of each row."""
    return (features @ prototypes.T).argmax(1)


@command
def main(arguments: list[str] | None = None) -> None:
    parser = Parser("int8_calibration", __doc__)
    parser.add_argument("--backbone", type=file, required=True, help="backbone.safetensors of train backbone")
    parser.add_argument("--shared", type=folder, required=True, help="the folder that holds data/")
    parser.add_argument("--cache", type=own_folder, default="runs/cache", help="where decoded images are kept")
    parser.add_argument("--images", type=positive, default=IMAGES, help="synthesised, noise and few real images")
    parser.add_argument("--steps", type=positive, default=STEPS, help="of the synthesis")
    parser.add_argument(
        "--methods", type=some_of(METHODS), default="minmax,norm", help=f"of ranges: {','.join(METHODS)}"
    )
    parser.add_argument("--seeds", type=positive, default=1, help="noise and syntheses are made this many times")
    options = parser.parse_args(arguments)

    need_data(options.shared, DATASETS)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    model = load_backbone(options.backbone)
    seen = json.loads(options.backbone.with_suffix(".json").read_text("utf-8"))["seen"]
    train = {d: load_images(options.shared, options.cache, d, "train").only(tuple(seen[d])) for d in seen}
    say("float features")
    pooled, labels, offset, rows = [], [], 0, {}
    for d, part in train.items():
        rows[d] = some_of_each(part.labels, FITTING)
        pooled.append(pooled_features(model, part.images[rows[d]]))
        labels.append(part.labels[rows[d]] + offset)
        offset += len(part.classes)
    transform = fit_transform(np.concatenate(pooled), np.concatenate(labels), FEATURES)
    prototypes = {
        d: np.stack([transform(p)[train[d].labels[rows[d]] == c].mean(0) for c in range(len(train[d].classes))])
        for d, p in zip(train, pooled)
        if d in TEST
    }
    graph = backbone_graph(model, transform)
    tests, floats = {}, {}
    for d, most in TEST.items():
        part = load_images(options.shared, options.cache, d, "test").only(tuple(seen[d]))
        keep = some_of_each(part.labels, most)
        tests[d] = ImageSet(d, prepared(part.images[keep]), part.labels[keep], part.classes)
        floats[d] = run(graph, tests[d].images, [graph.output])[graph.output]

    rng = np.random.default_rng(1)

    def real(count: int) -> np.ndarray:
        each = -(-count // len(train))
        drawn = [prepared(p.images[rng.permutation(len(p.labels))[:each]]) for p in train.values()]
        return np.concatenate(drawn)[:count]

    sources: list[tuple[str, np.ndarray]] = []
    for seed in range(options.seeds):
        say(f"synthesising {options.images} images, seed {seed}")
        began = time.perf_counter()
        size, grey = (INPUT_SIDE, INPUT_SIDE), (128.0,) * 3
        made = synthesise(model, size, grey, grey, options.images, options.steps, seed=seed, progress=say)
        say(f"{time.perf_counter() - began:.0f} s")
        sources += [("noise", noise(options.images, seed)), ("synthesised", made), ("real", real(options.images))]
    sources.append(("real", real(CALIBRATION_IMAGES)))
    head = ("calibration", "images", "ranges", "data set", "cosine", "1st percentile", "same class", "float", "int8")
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for name, images in sources:
        for method in options.methods:
            int8 = write_backbone_tflite(quantize_graph(graph, images, method))
            for d, part in tests.items():
                found = int8_features(int8, part).real
                close = cosines(floats[d], found)
                chosen = [nearest(f, prototypes[d]) for f in (floats[d], found)]
                top1 = [np.mean(c == part.labels) for c in chosen]
                print(
                    f"| {name} | {len(images)} | {method} | {d} | {close.mean():.4f} | {np.percentile(close, 1):.4f} | "
                    f"{np.mean(chosen[0] == chosen[1]):.1%} | {top1[0]:.1%} | {top1[1]:.1%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
