"""Build a pack around a backbone that was brought along: ``t2m-edge pack build --backbone MODEL.tflite``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

from t2m_edge.packs.pack import SCHEMA, SELF_TEST
from t2m_edge.packs.writing import write_pack
from t2m_exporters.parity import compare
from t2m_runtime import InputError
from t2m_runtime.preparation import PREPARATION_VERSION, prepare
from t2m_runtime.self_test import SelfTest

if TYPE_CHECKING:
    from t2m_edge.backbones.adopted import AdoptedBackbone
    from t2m_edge.training.packing import PackRecipe


def build_adopted_pack(
    backbone: AdoptedBackbone, text: Path, split_name: str, shared: Path, cache: Path, output: Path, recipe: PackRecipe
) -> None:
    """Train a hypernetwork on the backbone's features and write the pack (replaced if it exists).

    The hypernetwork learns on centred features of mean length 1; its ONNX form gives rows and biases for the features
    as the backbone gives them, so that the graph stays as it is.

    Args:
        split_name: classes to leave out ("none" for all to be seen).
        shared: the folder that holds data/.
        cache: where decoded images are kept.
    """
    from t2m_edge.hypernetworks.class_vectors import text_centres
    from t2m_edge.text import load_text_encoder
    from t2m_edge.training import packing
    from t2m_edge.training.datasets import load_images
    from t2m_edge.training.features import FeatureSet, some_of_each
    from t2m_edge.training.head import train_head
    from t2m_edge.training.splits import DATASETS, class_split
    from t2m_edge.training.texts import class_texts

    if recipe.head.hidden:
        raise InputError("a backbone from elsewhere takes linear heads; use a recipe without a hidden layer")
    split, encoder, say = class_split(shared, split_name), load_text_encoder(text), packing.say
    parts = {}
    for part in packing.seen_images(split, shared, cache):
        images = packing.head_images(part, recipe.train_images, shared, cache)
        say(f"features of {len(images.images):,} images of {part.name}")
        parts[part.name] = backbone.run(images.images, progress=say), images
    every = np.concatenate([features for features, _ in parts.values()])
    mean = every.mean(0)
    length = float(np.linalg.norm(every - mean, axis=1).mean())
    sets = [
        packing.training_set(
            FeatureSet(name, (features - mean) / length, images.labels, images.classes, 1.0),
            shared,
            encoder,
            recipe.weights[name],
        )
        for name, (features, images) in parts.items()
    ]
    say("training the hypernetwork")
    centres = text_centres([s.embeddings for s in sets])
    model = train_head(sets, recipe.head, centres, say)
    say("feature bank and probe images")
    texts, rows, labels, classes = class_texts(shared), [], [], []
    for d in DATASETS:
        held = packing.every_second(load_images(shared, cache, d, "test").only(split.seen[d]), 1)
        chosen = some_of_each(held.labels, packing.BANK_IMAGES[d])
        rows.append(backbone.run(held.images[chosen]))
        labels.append(held.labels[chosen] + len(classes))
        classes += [texts[d][c].name for c in held.classes]
    photos = load_images(shared, cache, "grocery", "test").only(split.seen["grocery"])
    chosen = some_of_each(photos.labels, 1)
    chosen = chosen[:: max(1, len(chosen) // packing.PROBE_IMAGES)][: packing.PROBE_IMAGES]
    probes = np.stack([prepare(image, *backbone.size) for image in photos.images[chosen]])
    scale, zero_point = backbone.scale or float(np.float32(np.abs(every).max() / 127)), backbone.zero_point
    seen = backbone.run(probes)
    files = {f"backbone/{name}": data for name, data in backbone.files.items()}
    files |= {f"text/{p.name}": p.read_bytes() for p in sorted(text.iterdir()) if p.is_file()}
    files |= packing.hypernetwork_files(model, centres)
    # Its rows are for centred features: only the ONNX form, which takes that back, belongs to this backbone.
    del files["hypernetwork/hypernetwork.safetensors"]
    files["hypernetwork/hypernetwork.onnx"] = for_raw_features(files["hypernetwork/hypernetwork.onnx"], mean, length)
    bank = quantised(np.concatenate(rows), scale, zero_point)
    files["bank.safetensors"] = save({"features": bank, "labels": np.concatenate(labels).astype(np.int32)})
    files["bank.json"] = json.dumps(classes).encode()
    real = float_features(backbone, probes)
    files["probes.safetensors"] = save(
        {"images": probes, "features": real, "quantised": quantised(seen, scale, zero_point)}
    )
    files[SELF_TEST] = SelfTest.from_image(probes[0], (), 0.0).png()
    backbone = replace(backbone, scale=scale, zero_point=zero_point)
    provenance = {"split": split_name, "backbone": backbone.name, "pack": asdict(recipe)}
    facts = {
        **pack_facts(backbone, recipe.name, recipe.version, provenance),
        "independent_classes": not recipe.head.mixing,
        "backbone_parity": adopted_parity(backbone, probes, real),
    }
    write_pack(output, facts, files, overwrite=True)
    say(f"wrote {output}")


def pack_facts(backbone: AdoptedBackbone, name: str, version: str, provenance: dict[str, Any]) -> dict[str, Any]:
    """What pack.json says of any pack around a backbone from elsewhere."""
    return {
        "schema_version": SCHEMA,
        "name": name,
        "version": version,
        "licence": "see the backbone's own",
        "input": {
            "height": backbone.size[0],
            "width": backbone.size[1],
            "crop": "center",
            "preparation_version": PREPARATION_VERSION,
            "mean": list(backbone.mean),
            "std": list(backbone.std),
        },
        "features": {
            "size": backbone.features,
            "unit": False,
            "scale": backbone.scale,
            "zero_point": backbone.zero_point,
        },
        "max_classes": 1000,
        "provenance": provenance,
        "accuracy": {},
    }


def adopted_parity(backbone: AdoptedBackbone, probes: np.ndarray, features: np.ndarray) -> dict[str, Any]:
    """ "precision.target" -> how close that stored graph's features are to the float ones; {} where there are none.

    Args:
        probes: uint8 (p, H, W, 3); features: float32 (p, d) of the float graph.
    """
    if not any(key.startswith("fp32") for key in backbone.files):
        return {}
    return {key: asdict(compare(features, backbone.run(probes, key))) for key in backbone.files}


def calibration_images(split_name: str, shared: Path, cache: Path) -> np.ndarray:
    """Training images of the seen classes at one size, to calibrate an int8 form with: uint8 (n, 96, 96, 3)."""
    from t2m_edge.training import packing
    from t2m_edge.training.features import prepared
    from t2m_edge.training.splits import class_split

    parts = packing.seen_images(class_split(shared, split_name), shared, cache)
    rng = np.random.default_rng(0)
    each = packing.CALIBRATION_IMAGES // len(parts)
    return np.concatenate([prepared(p.images[rng.permutation(len(p.labels))[:each]]) for p in parts])


def float_features(backbone: AdoptedBackbone, images: np.ndarray) -> np.ndarray:
    """Features of prepared images by the float graph, or by the only one that there is: float32 (n, d)."""
    return backbone.run(images, next((key for key in backbone.files if key.startswith("fp32")), None))


def quantised(features: np.ndarray, scale: float, zero_point: int) -> np.ndarray:
    """float32 (n, d) -> int8."""
    return np.clip(np.rint(features / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)


def for_raw_features(model: bytes, mean: np.ndarray, length: float) -> bytes:
    """A hypernetwork's ONNX form whose heads read features x where the trained one's read ``(x - mean) / length``.

    weight' = weight / length; bias' = bias - weight' mean.

    Args:
        mean: float32 (d,).
    """
    import onnx
    from onnx import helper, numpy_helper

    tree = onnx.load_from_string(model)
    graph = tree.graph
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name in ("weight", "bias"):
                    names[index] = f"centred/{name}"
    for name, value in (
        ("raw/gain", np.array(1 / length, np.float32)),
        ("raw/mean", -mean.astype(np.float32)[:, None]),
        ("raw/axis", np.array([1], np.int64)),
    ):
        graph.initializer.append(numpy_helper.from_array(value, name))
    graph.node.extend(
        [
            helper.make_node("Mul", ["centred/weight", "raw/gain"], ["weight"], "weight"),
            helper.make_node("MatMul", ["weight", "raw/mean"], ["raw/column"], "raw/column"),
            helper.make_node("Squeeze", ["raw/column", "raw/axis"], ["raw/shift"], "raw/shift"),
            helper.make_node("Add", ["centred/bias", "raw/shift"], ["bias"], "bias"),
        ]
    )
    return tree.SerializeToString(deterministic=True)
