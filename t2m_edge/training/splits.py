"""Which classes a strict backbone may see: the fixed splits of ``splits.json`` and the matches between data sets."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

DATASETS = ("cifar100", "tiny_imagenet", "grocery")
SPLITS = ("0", "1", "2", "3", "4", "strict_unseen")


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


def class_split(shared: Path, name: str) -> ClassSplit:
    """The split ``name``: "0" to "4", "strict_unseen" (CIFAR-100 only), "every" (unseen in any of these) or "none".

    ``none`` is the release setting: every class is seen.
    """
    table = json.loads((shared / "data" / "splits.json").read_text("utf-8"))
    classes = {d: sorted(table[d]["classes"]) for d in DATASETS}
    unseen = {d: set[str]() for d in DATASETS}
    if name not in (*SPLITS, "every", "none"):
        raise ValueError(f"split {name!r} is unknown; the splits are {', '.join(SPLITS)}, every and none")
    numbers = range(5) if name == "every" else [int(name)] if name.isdigit() else []
    for number in numbers:
        for d in DATASETS:
            unseen[d] |= set(table[d]["splits"][number]["unseen"])
    if name in ("strict_unseen", "every"):
        unseen["cifar100"] |= set(table["cifar100"]["strict_unseen"])
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
