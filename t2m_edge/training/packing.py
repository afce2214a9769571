"""Build a pack from a trained backbone and a text encoder: ``t2m-edge pack build``.

Fits the feature transform, writes the backbone in each target and precision, runs the int8 one over the images, trains
the hypernetwork on those features, and stores bank, probes and provenance.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from t2m_edge.backbones.folding import backbone_graph
from t2m_edge.backbones.resnet import INPUT_SIDE
from t2m_edge.backbones.transform import fit_transform
from t2m_edge.hypernetworks.class_vectors import TextCentres, text_centres
from t2m_edge.hypernetworks.hypernetwork import Hypernetwork, save_hypernetwork
from t2m_edge.hypernetworks.onnx_form import onnx_form
from t2m_edge.packs.pack import DERIVED, SCHEMA, SELF_TEST
from t2m_edge.packs.writing import write_pack
from t2m_edge.text import TextEncoder, load_text_encoder
from t2m_edge.training.backbone import load_backbone
from t2m_edge.training.datasets import ImageSet, load_images
from t2m_edge.training.features import FeatureSet, int8_features, pooled_features, prepared, some_of_each
from t2m_edge.training.head import HeadRecipe, TrainingSet, train_head
from t2m_edge.training.splits import DATASETS, ClassSplit, class_split
from t2m_edge.training.texts import class_embeddings, class_texts
from t2m_exporters.graph import Graph
from t2m_exporters.graph import run as run_graph
from t2m_exporters.layer_parity import layer_parity
from t2m_exporters.onnx import write_backbone_onnx
from t2m_exporters.onnx_derived import derive_onnx
from t2m_exporters.parity import compare
from t2m_exporters.quantize import quantize_graph
from t2m_exporters.tflite import write_backbone_tflite
from t2m_exporters.tflite_derived import derive_tflite
from t2m_runtime.engines import load_engine
from t2m_runtime.preparation import PREPARATION_VERSION
from t2m_runtime.self_test import SelfTest

FITTING_IMAGES = 60
CALIBRATION_IMAGES = 400
PROBE_IMAGES = 16
BANK_IMAGES = {"cifar100": 8, "tiny_imagenet": 4, "grocery": 10}


@dataclass(frozen=True)
class PackRecipe:
    """What decides a pack beside its backbone and text encoder. weights: how often each data set gives a task."""

    name: str = "default"
    version: str = "0.1.0"
    features: int = 256
    whitening: float = 0.25
    train_images: int = 50
    weights: dict[str, float] = field(default_factory=lambda: {"cifar100": 1.0, "tiny_imagenet": 1.0, "grocery": 0.7})
    head: HeadRecipe = field(default_factory=HeadRecipe)


@dataclass(frozen=True)
class Backbones:
    """The four written graphs by "precision.target", the float graph that they come from, and the int8 features'
    scale and zero point."""

    graph: Graph
    files: dict[str, bytes]
    int8_features: tuple[float, int]


def write_backbones(backbone: Path, images: list[ImageSet], recipe: PackRecipe) -> Backbones:
    """Fit the feature transform on images of the seen classes, quantise, and write the backbone four times."""
    model = load_backbone(backbone)
    pooled, labels, offset = [], [], 0
    for part in images:
        rows = some_of_each(part.labels, FITTING_IMAGES)
        pooled.append(pooled_features(model, part.images[rows]))
        labels.append(part.labels[rows] + offset)
        offset += len(part.classes)
    transform = fit_transform(np.concatenate(pooled), np.concatenate(labels), recipe.features, recipe.whitening)
    graph = backbone_graph(model, transform)
    each = CALIBRATION_IMAGES // len(images)
    rng = np.random.default_rng(0)
    calibration = np.concatenate([prepared(p.images[rng.permutation(len(p.labels))[:each]]) for p in images])
    quantised = quantize_graph(graph, calibration)
    files = {
        "fp32.tflite": write_backbone_tflite(graph),
        "int8.tflite": write_backbone_tflite(quantised),
        "fp32.onnx": write_backbone_onnx(graph),
        "int8.onnx": write_backbone_onnx(quantised),
    }
    return Backbones(graph, files, (quantised.features.scale, quantised.features.zero_point))


def training_set(features: FeatureSet, shared: Path, encoder: TextEncoder, weight: float) -> TrainingSet:
    """Features with the embeddings of their classes' names and texts."""
    names, texts = class_embeddings(encoder, class_texts(shared)[features.name], features.classes)
    return TrainingSet(features.name, features.real, features.labels, names, texts, weight)


def seen_images(split: ClassSplit, shared: Path, cache: Path) -> list[ImageSet]:
    """The training images of the classes that a split's pack may see, by data set."""
    return [load_images(shared, cache, d, "train").only(split.seen[d]) for d in DATASETS]


def training_sets(
    int8: bytes,
    split: ClassSplit,
    shared: Path,
    cache: Path,
    encoder: TextEncoder,
    images: int,
    weights: dict[str, float],
) -> list[TrainingSet]:
    """What a hypernetwork is trained on: int8 features of images of each seen class, and the classes' texts."""
    sets = []
    for part in seen_images(split, shared, cache):
        features = int8_features(int8, head_images(part, images, shared, cache))
        sets.append(training_set(features, shared, encoder, weights[part.name]))
    return sets


def head_images(part: ImageSet, images: int, shared: Path, cache: Path) -> ImageSet:
    """``images`` training images of each class and every second test image of these classes.

    To the backbone's own training images the features fit too well; a head trained on them alone expects as much of
    unseen classes.
    """
    rows = some_of_each(part.labels, images)
    test = every_second(load_images(shared, cache, part.name, "test").only(part.classes), 0)
    pixels = np.concatenate([part.images[rows], test.images])
    return ImageSet(part.name, pixels, np.concatenate([part.labels[rows], test.labels]), part.classes)


def every_second(images: ImageSet, first: int) -> ImageSet:
    """Every second image: ``first`` 0 for training hypernetworks, 1 for the bank and for accuracy on seen classes."""
    return ImageSet(images.name, images.images[first::2], images.labels[first::2], images.classes)


def say(line: str) -> None:
    """Progress, as the command line shows it."""
    print(line, file=sys.stderr, flush=True)


def build_pack(
    backbone: Path, text: Path, split_name: str, shared: Path, cache: Path, output: Path, recipe: PackRecipe
) -> None:
    """Build the pack of one backbone and text encoder into the folder ``output`` (replaced if it exists)."""
    split = class_split(shared, split_name)
    encoder = load_text_encoder(text)
    train = seen_images(split, shared, cache)
    say("fitting the feature transform, quantising")
    backbones = write_backbones(backbone, train, recipe)
    int8 = backbones.files["int8.tflite"]
    say("features of the training images")
    sets = training_sets(int8, split, shared, cache, encoder, recipe.train_images, recipe.weights)
    say("training the hypernetwork")
    centres = text_centres([s.embeddings for s in sets])
    model = train_head(sets, recipe.head, centres, say)
    say("feature bank and probe images")
    bank = feature_bank(int8, shared, cache, split)
    probes = probe_images(shared, cache, split)
    quantised = int8_features(int8, ImageSet("probes", probes, np.zeros(len(probes), np.int64), ("",)))
    float_features = run_graph(backbones.graph, probes, ["features"])["features"].astype(np.float32)
    say("parity of the backbones, layer by layer")
    parity = backbones_parity(backbones, probes, float_features)
    files = {f"backbone/{name}": data for name, data in backbones.files.items()}
    files |= text_files(text)
    files |= hypernetwork_files(model, centres)
    files["bank.safetensors"] = save({"features": bank.features, "labels": bank.labels.astype(np.int32)})
    files["bank.json"] = json.dumps(list(bank.classes)).encode()
    files["probes.safetensors"] = save({"images": probes, "features": float_features, "quantised": quantised.features})
    files[SELF_TEST] = SelfTest.from_image(probes[0], (), 0.0).png()
    provenance = json.loads(backbone.with_suffix(".json").read_text("utf-8"))
    facts = {
        "schema_version": SCHEMA,
        "name": recipe.name,
        "version": recipe.version,
        "licence": "Apache-2.0",
        "input": {
            "height": INPUT_SIDE,
            "width": INPUT_SIDE,
            "crop": "center",
            "preparation_version": PREPARATION_VERSION,
            "mean": list(backbones.graph.mean),
            "std": list(backbones.graph.std),
        },
        "features": {"size": recipe.features, "unit": True, "scale": bank.scale, "zero_point": 0},
        "max_classes": 1000,
        "independent_classes": not recipe.head.mixing and not recipe.head.hidden,
        "backbone_parity": parity,
        "provenance": {
            "split": split_name,
            "data": "CIFAR-100, Tiny-ImageNet-200, Grocery Store",
            "backbone": {k: provenance[k] for k in ("recipe", "seen_test_accuracy")},
            "seen": provenance["seen"],
            "pack": asdict(recipe),
        },
        "accuracy": {"seen_test_top1_of_training_classifiers": provenance["seen_test_accuracy"]},
    }
    write_pack(output, facts, files, overwrite=True)
    say(f"wrote {output}")


def backbones_parity(backbones: Backbones, probes: np.ndarray, features: np.ndarray) -> dict[str, Any]:
    """ "precision.target" -> how close that graph is to the float one on the probe images.

    TFLite graphs are compared layer by layer; ONNX ones hold the same numbers and are compared at their features.

    Args:
        probes: uint8 (p, H, W, 3).
        features: float32 (p, d) of the float graph.
    """
    found: dict[str, Any] = {}
    for precision in ("fp32", "fp16", "int8", "int8-dynamic"):
        derived = precision in DERIVED
        models = {t: backbones.files[f"{'fp32' if derived else precision}.{t}"] for t in ("tflite", "onnx")}
        if derived:
            models = {
                "tflite": derive_tflite(models["tflite"], precision),
                "onnx": derive_onnx(models["onnx"], precision),
            }
        found[f"{precision}.tflite"] = layer_parity(models["tflite"], backbones.graph, probes)
        engine = load_engine("onnx", models["onnx"], quantization=backbones.int8_features)
        rows = np.stack([engine.run(image[np.newaxis]) for image in probes])
        found[f"{precision}.onnx"] = asdict(compare(features, rows))
    return found


def feature_bank(int8: bytes, shared: Path, cache: Path, split: ClassSplit) -> FeatureSet:
    """Features of held-out images of the seen classes; class names as a person would write them."""
    parts, labels, classes = [], [], []
    scale = 0.0
    texts = class_texts(shared)
    for d in DATASETS:
        images = every_second(load_images(shared, cache, d, "test").only(split.seen[d]), 1)
        rows = some_of_each(images.labels, BANK_IMAGES[d])
        found = int8_features(int8, ImageSet(d, images.images[rows], images.labels[rows], images.classes))
        parts.append(found.features)
        labels.append(found.labels + len(classes))
        classes += [texts[d][c].name for c in images.classes]
        scale = found.scale
    return FeatureSet("bank", np.concatenate(parts), np.concatenate(labels), tuple(classes), scale)


def probe_images(shared: Path, cache: Path, split: ClassSplit) -> np.ndarray:
    """Photos of seen Grocery classes (MIT licence) from its test part, prepared: uint8 (n, 96, 96, 3)."""
    images = load_images(shared, cache, "grocery", "test").only(split.seen["grocery"])
    rows = some_of_each(images.labels, 1)
    return prepared(images.images[rows[:: max(1, len(rows) // PROBE_IMAGES)][:PROBE_IMAGES]])


def text_files(folder: Path) -> dict[str, bytes]:
    """A text encoder's files as a pack holds them."""
    return {f"text/{p.name}": p.read_bytes() for p in sorted(folder.iterdir()) if p.is_file()}


def hypernetwork_files(model: Hypernetwork, centres: TextCentres) -> dict[str, bytes]:
    """The hypernetwork twice (safetensors to train on, ONNX to run) and the text centres."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hypernetwork.safetensors"
        save_hypernetwork(model, path)
        weights = path.read_bytes()
    return {
        "hypernetwork/hypernetwork.safetensors": weights,
        "hypernetwork/hypernetwork.onnx": onnx_form(model),
        "hypernetwork/centres.safetensors": save({"name": centres.name, "text": centres.text}),
    }
