"""Problems on the features that a strict pack's int8 backbone emits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from t2m_edge.evaluation.kept import keep
from t2m_edge.evaluation.methods.method import Seen
from t2m_edge.evaluation.protocol import POOLED, ClassEmbeddings, Problem
from t2m_edge.hypernetworks.class_vectors import text_centres
from t2m_edge.packs import Pack
from t2m_edge.training.datasets import ImageSet, load_images
from t2m_edge.training.features import FeatureSet, int8_features
from t2m_edge.training.packing import every_second, head_images
from t2m_edge.training.splits import EVALUATED, class_split
from t2m_runtime import InputError


def pack_name(split: str) -> str:
    """Folder of a split's strict pack: "strict-0", "strict-unseen"."""
    return f"strict-{split.removeprefix('strict_')}"


def need_packs(packs: Path, splits: Iterable[str]) -> None:
    """Raises InputError where the folder lacks a split's strict pack."""
    for split in splits:
        if not (packs / pack_name(split) / "pack.json").is_file():
            raise InputError(f"{packs / pack_name(split)} is no pack: build it as docs/training.md says (Strict packs)")


def cached_features(pack: Pack, images: ImageSet, part: str, cache: Path) -> FeatureSet:
    """int8 features of a data set, kept in ``cache`` under the backbone's hash."""
    path = cache / f"{images.name}-{part}-{pack.backbone_sha256('tflite', 'int8')[:16]}-{len(images.labels)}.npy"
    if path.exists():
        return FeatureSet(images.name, np.load(path), images.labels, images.classes, pack.info.scale)
    found = int8_features(pack.backbone("tflite", "int8"), images)
    keep(path, found.features)
    return found


def pack_problem(
    pack: Pack,
    dataset: str,
    split_name: str,
    embedded: ClassEmbeddings,
    shared: Path,
    cache: Path,
    pooled: ClassEmbeddings | None = None,
    generalised: bool = True,
) -> Problem:
    """A problem on the pack's int8 features: its own training images, all test images of the split's unseen classes.

    ``pooled``: embeddings of the data set whose seen classes methods may learn from, too (see POOLED; its images are
    not shrunk, as in training). ``generalised``: with those test images of seen classes that the hypernetwork was not
    trained on.
    """
    split = class_split(shared, split_name)
    unseen = split.unseen[dataset]
    test = load_images(shared, cache, dataset, "test")

    def features(images: ImageSet, part: str) -> tuple[np.ndarray, np.ndarray]:
        found = cached_features(pack, images, f"{part}{split_name}", cache)
        return found.real, found.labels

    def learnt(name: str, texts: ClassEmbeddings) -> Seen:
        classes = split.seen[name]
        images = load_images(shared, cache, name, "train").only(classes)
        images = head_images(images, pack.info.provenance["pack"]["train_images"], shared, cache)
        known = texts.of(classes)
        return Seen(*features(images, "train"), *known, text_centres([known]), dataset=name, classes=classes)

    seen = learnt(dataset, embedded)
    if pooled is not None:
        seen = replace(seen, others=(learnt(POOLED[dataset][0], pooled),))
    return Problem(
        f"{dataset} {split_name}",
        EVALUATED.index(split_name),
        seen,
        embedded.unseen(*features(test.only(unseen), "test"), unseen),
        features(every_second(test.only(seen.classes), 1), "seen-test") if generalised else None,
    )
