"""The texts of every class of the image sets: names and descriptions from ``shared/data/descriptions``."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t2m_edge.hypernetworks.class_vectors import name_prompt
from t2m_edge.text import TextEncoder
from t2m_edge.training.splits import DATASETS


@dataclass(frozen=True)
class ClassTexts:
    """name: as a person would write it; descriptions: sentences; short: descriptors of a few words.

    singles: how many of the descriptions, from the first, can stand for the class by themselves (None: all). Of
    CIFAR-100's those of Meta-Prompting; CuPL's are captions of one photo.
    """

    name: str
    descriptions: tuple[str, ...]
    short: tuple[str, ...] = ()
    singles: int | None = None


def class_texts(shared: Path) -> dict[str, dict[str, ClassTexts]]:
    """{data set: {class: texts}} for CIFAR-100, Tiny-ImageNet and Grocery."""
    folder = shared / "data" / "descriptions"
    readers = {"cifar100": _cifar, "tiny_imagenet": _tiny, "grocery": lambda _: _grocery(shared / "data")}
    return {d: readers[d](folder) for d in DATASETS}


def class_embeddings(
    encoder: TextEncoder, texts: dict[str, ClassTexts], classes: Sequence[str]
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Embeddings of the classes' names, float32 (k, d_text), and of their texts, k arrays float32 (m_i, d_text)."""
    names = encoder.encode([name_prompt(texts[c].name) for c in classes])
    return names, tuple(encoder.encode(list(texts[c].descriptions)) for c in classes)


def _json(path: Path) -> dict:
    return json.loads(path.read_text("utf-8"))


def _clean(text: str) -> str:
    return " ".join(text.split())


def _cifar(folder: Path) -> dict[str, ClassTexts]:
    gpt, cupl = _json(folder / "cifar100_gpt.json"), _json(folder / "cifar100_cupl.json")
    out = {}
    for c in gpt:
        singles, captions = ([_clean(t) for t in table[c] if t.strip()] for table in (gpt, cupl))
        out[c] = ClassTexts(c.replace("_", " "), (*singles, *captions), singles=len(singles))
    return out


def _tiny(folder: Path) -> dict[str, ClassTexts]:
    descriptors = {k.lower(): v for k, v in _json(folder / "imagenet_descriptors.json").items()}
    out = {}
    for wnid, entry in _json(folder / "tiny_imagenet_gloss.json").items():
        names, gloss = entry["names"], _clean(entry["gloss"])
        short = next((descriptors[n.lower()] for n in names if n.lower() in descriptors), [])
        sentences = [gloss, f"{names[0]}: {gloss}", *(f"a {n}, {gloss}" for n in names[1:])]
        sentences += [f"a {names[0]} with {_clean(s)}" for s in short]
        out[wnid] = ClassTexts(names[0], tuple(sentences), tuple(_clean(s) for s in short))
    return out


def _grocery(folder: Path) -> dict[str, ClassTexts]:
    with tarfile.open(folder / "grocery.tar") as tar:
        described = json.load(_member(tar, "descriptions.json"))
    coarse = json.loads((folder / "splits.json").read_text("utf-8"))["grocery"]["coarse"]
    out = {}
    for name, text in described.items():
        fine, group = name.replace("-", " "), coarse[name].replace("-", " ").lower()
        full = fine if group.split()[-1] in fine.lower() else f"{fine} {group}"
        sentences = (_clean(text), f"{full}: {_clean(text)}", f"{full}, a kind of {group}")
        out[name] = ClassTexts(full, sentences)
    return out


def _member(tar: tarfile.TarFile, name: str) -> io.BufferedReader:
    file = tar.extractfile(name)
    assert file is not None
    return file
