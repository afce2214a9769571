"""Where the study's problems come from: frozen backbones of others or those of the strict packs, and text encoders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache as remembered
from functools import cached_property, lru_cache
from pathlib import Path

from t2m_edge.evaluation.frozen_features import BACKBONES
from t2m_edge.evaluation.pack_features import need_packs, pack_name, pack_problem
from t2m_edge.evaluation.protocol import POOLED, ClassEmbeddings, Problem, dataset_embeddings, frozen_problem
from t2m_edge.packs import Pack, load_pack
from t2m_edge.text import TextEncoder, load_text_encoder
from t2m_edge.text.minilm import MiniLM
from t2m_edge.training.datasets import ARCHIVES
from t2m_edge.training.splits import STRICT_SETS, class_split
from t2m_runtime import InputError

STRICT = "strict"
"""The backbone's name for those of the strict packs, one a split."""
DESCRIPTIONS = {
    "cifar100": ("cifar100_gpt.json", "cifar100_cupl.json"),
    "tiny_imagenet": ("tiny_imagenet_gloss.json",),
    "grocery": (),
}
NUMBERED = ("0", "1", "2", "3", "4")


@dataclass(frozen=True)
class Place:
    """What one problem is made of, by name."""

    backbone: str
    dataset: str
    split: str
    encoder: str


class Sources:
    """Problems by place. ``packs``: the folder of the strict packs; ``encoders``: folders of text encoders."""

    def __init__(self, shared: Path, cache: Path, packs: Path | None, encoders: list[Path], pooled: bool) -> None:
        self._shared, self._cache, self._packs, self._folders = shared, cache, packs, encoders
        self._pooled = pooled
        self._embeddings = remembered(self._dataset_embeddings)
        self._pack = remembered(lambda split: load_pack(packs / pack_name(split)))
        self.problem = lru_cache(maxsize=2)(self._problem)

    @cached_property
    def encoders(self) -> dict[str, TextEncoder]:
        """Text encoders by the name of their folder."""
        return {folder.name: load_encoder(folder) for folder in self._folders}

    def features_id(self, place: Place) -> str:
        """Names the backbone's very weights."""
        if place.backbone != STRICT:
            return BACKBONES[place.backbone].file
        return self._pack(place.split).backbone_sha256("tflite", "int8")[:16]

    def splits(self, backbone: str, dataset: str, wanted: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The wanted splits that there are for a data set and backbone: the numbered ones, then the strict sets."""
        strict = [s for s in wanted if s in STRICT_SETS and dataset == "cifar100"]
        if backbone == STRICT:
            assert self._packs is not None
            strict = [s for s in strict if (self._packs / pack_name(s)).exists()]
        groups = (tuple(s for s in wanted if s in NUMBERED), tuple(strict))
        return [g for g in groups if g]

    def check(self, backbones: list[str], datasets: list[str], splits: tuple[str, ...]) -> None:
        """Raises InputError that names the first file that is missing and where it belongs."""
        need_data(self._shared, datasets, [b for b in backbones if b != STRICT])
        if STRICT not in backbones:
            return
        if self._packs is None:
            raise InputError("the strict backbones come from packs: name the folder that holds strict-0 by --packs")
        need_packs(self._packs, [split for split in splits if split in NUMBERED])

    def _dataset_embeddings(self, encoder: str, dataset: str) -> ClassEmbeddings:
        return dataset_embeddings(self.encoders[encoder], dataset, self._shared, self._cache)

    def _problem(self, place: Place) -> Problem:
        found = self._embeddings(place.encoder, place.dataset)
        more = self._embeddings(place.encoder, POOLED[place.dataset][0]) if self._pooled else None
        if place.backbone == STRICT:
            pack: Pack = self._pack(place.split)
            return pack_problem(pack, place.dataset, place.split, found, self._shared, self._cache, more)
        return frozen_problem(place.backbone, place.dataset, place.split, found, self._shared, self._cache, more)


def need_data(shared: Path, datasets: Iterable[str], backbones: Iterable[str] = ()) -> None:
    """Raises InputError that names the first file that is missing and where it belongs."""
    data = shared / "data"
    needed = [data / "splits.json", *(data / ARCHIVES[d][0] for d in datasets)]
    needed += [data / "descriptions" / name for d in datasets for name in DESCRIPTIONS[d]]
    needed += [data / "backbones" / BACKBONES[b].file for b in backbones]
    for path in needed:
        if not path.is_file():
            raise InputError(f"{path} is missing: put the study's data folder there, or name its parent by --shared")


def need_unseen(shared: Path, datasets: Iterable[str], splits: Iterable[str]) -> None:
    """Raises InputError where a split has no unseen classes of a data set."""
    for split in splits:
        unseen = class_split(shared, split).unseen
        if empty := [d for d in datasets if not unseen[d]]:
            raise InputError(f"split {split} has no unseen classes of {empty[0]}; leave one of the two out")


def load_encoder(folder: Path) -> TextEncoder:
    """A text encoder of ours, or all-MiniLM-L6-v2 where the folder has no encoder.json."""
    return load_text_encoder(folder) if (folder / "encoder.json").is_file() else MiniLM(folder)
