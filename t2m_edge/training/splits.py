"""Which classes a strict backbone may see: the fixed splits of ``splits.json`` and the matches between data sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

DATASETS = ("cifar100", "tiny_imagenet", "grocery")
STRICT_SETS = ("strict_unseen", "strict_unseen_2", "strict_unseen_3")
"""CIFAR-100 classes without a close ImageNet-1k counterpart; the first is in splits.json, the others are committed."""
SPLITS = ("0", "1", "2", "3", "4", *STRICT_SETS)
TUNING_CLASSES = {"cifar100": 16, "tiny_imagenet": 28, "grocery": 12}

EVALUATED = ("0", "1", "2", "3", "4", "strict_unseen", "tuning", "strict_unseen_2", "strict_unseen_3")
"""Splits with unseen classes of their own; the place of one seeds what is drawn for it."""


@dataclass(frozen=True)
class ClassSplit:
    """Class names of each data set. ``seen`` is what a strict backbone trains on; ``unseen`` is the split's own list.

    A class in neither is held back because it matches an unseen class of another data set.
    """

    name: str
    seen: dict[str, tuple[str, ...]]
    unseen: dict[str, tuple[str, ...]]


def matching_groups() -> list[dict[str, list[str]]]:
    """Groups of classes of different data sets that show the same thing (the committed list)."""
    text = resources.files("t2m_edge.training").joinpath("class_matches.json").read_text("utf-8")
    return list(json.loads(text)["groups"].values())


def strict_class_sets() -> dict[str, list[str]]:
    """The strict sets that are not in splits.json (the committed file states the rule by which they were drawn)."""
    text = resources.files("t2m_edge.training").joinpath("strict_class_sets.json").read_text("utf-8")
    return json.loads(text)["sets"]


def class_split(shared: Path, name: str) -> ClassSplit:
    """The split ``name``: one of SPLITS, "every" (unseen in any of "0" to "4" or in "strict_unseen"), "none", "tuning".

    ``none`` is the release setting: every class is seen. ``tuning`` is for choosing settings: some of split 0's seen
    classes play the unseen ones, so that neither a backbone nor a hypernetwork has seen them.
    """
    table = json.loads((shared / "data" / "splits.json").read_text("utf-8"))
    classes = {d: sorted(table[d]["classes"]) for d in DATASETS}
    unseen = {d: set[str]() for d in DATASETS}
    if name == "tuning":
        return _tuning_split(shared, classes)
    if name not in (*SPLITS, "every", "none"):
        raise ValueError(f"split {name!r} is unknown; the splits are {', '.join(SPLITS)}, every, tuning and none")
    numbers = range(5) if name == "every" else [int(name)] if name.isdigit() else []
    for number in numbers:
        for d in DATASETS:
            unseen[d] |= set(table[d]["splits"][number]["unseen"])
    if name in ("strict_unseen", "every"):
        unseen["cifar100"] |= set(table["cifar100"]["strict_unseen"])
    elif name in STRICT_SETS:
        unseen["cifar100"] |= set(strict_class_sets()[name])
    return _without_matches(name, classes, unseen)


def _without_matches(name: str, classes: dict[str, list[str]], unseen: dict[str, set[str]]) -> ClassSplit:
    """The split whose seen classes match no unseen class of another data set."""
    held_back = {d: set(unseen[d]) for d in DATASETS}
    for group in matching_groups():
        for d in DATASETS:
            if any(set(group.get(other, ())) & unseen[other] for other in DATASETS if other != d):
                held_back[d] |= set(group.get(d, ()))
    return ClassSplit(
        name=name,
        seen={d: tuple(c for c in classes[d] if c not in held_back[d]) for d in DATASETS},
        unseen={d: tuple(sorted(unseen[d])) for d in DATASETS},
    )


def _tuning_split(shared: Path, classes: dict[str, list[str]]) -> ClassSplit:
    """Drawn from the classes that split 0's backbone sees and the base of the strict backbones does not."""
    outer, base = class_split(shared, "0"), class_split(shared, "every")
    rng = np.random.default_rng(7)
    held = {
        d: set(rng.permutation([c for c in outer.seen[d] if c not in base.seen[d]])[: TUNING_CLASSES[d]].tolist())
        for d in DATASETS
    }
    split = _without_matches("tuning", classes, {d: held[d] | set(outer.unseen[d]) for d in DATASETS})
    seen = {d: tuple(c for c in split.seen[d] if c in set(outer.seen[d])) for d in DATASETS}
    return ClassSplit("tuning", seen, {d: tuple(sorted(held[d])) for d in DATASETS})
