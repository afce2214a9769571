"""Settings of the methods that are networks, chosen once for each backbone and data set: ``--tune``.

Every method gets the same number of trials: its own settings first, then others drawn from its grid. A trial is one
seed on pseudo-unseen classes, a quarter of the seen ones of each split; the mean accuracy over splits and text
conditions decides. No unseen class has a say.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from t2m_edge.evaluation.jobs import BY_NAME, Job
from t2m_edge.evaluation.methods.method import Method
from t2m_edge.evaluation.results import ResultFile
from t2m_edge.evaluation.sources import Place, Sources

PATH = Path(str(resources.files("t2m_edge.evaluation").joinpath("settings.json")))
DEFAULT = ("mobilenet_v1", "cifar100")
"""Whose settings serve where none were chosen."""


def trials(method: Method, count: int) -> list[dict[str, Any]]:
    """The settings that tuning tries: the method's own, then others of its grid in a drawn order."""
    grid = [dict(zip(method.grid, values)) for values in product(*method.grid.values())]
    drawn = [grid[i] for i in np.random.default_rng(0).permutation(len(grid))]
    own = {k: method.settings[k] for k in method.grid} if method.settings else drawn[0]
    return [own, *(s for s in drawn if s != own)][:count]


def trial_jobs(method: Method, places: list[Place], count: int) -> list[Job]:
    """All trials of a method."""
    return [Job("trial", method.name, place, settings) for settings in trials(method, count) for place in places]


def chosen(method: Method, places: list[Place], count: int, sources: Sources, results: ResultFile) -> dict[str, Any]:
    """The best of the trials, and what they gave: {"settings", "accuracy" in percent, "trials", "splits"}."""
    tried = trials(method, count)
    found = [
        np.mean([list(results.get(Job("trial", method.name, p, s).key(sources))["accuracy"].values()) for p in places])
        for s in tried
    ]
    best = int(np.argmax(found))
    return {
        "settings": tried[best],
        "accuracy": round(float(found[best]), 2),
        "of": [round(float(min(found)), 2), round(float(max(found)), 2)],
        "trials": len(tried),
        "splits": [p.split for p in places],
        "texts": places[0].encoder,
    }


def write_choice(backbone: str, dataset: str, method: str, choice: dict[str, Any]) -> None:
    """Write a choice into ``settings.json``."""
    table = json.loads(PATH.read_text("utf-8"))
    table.setdefault(backbone, {}).setdefault(dataset, {})[method] = choice
    PATH.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


@dataclass(frozen=True)
class Committed:
    """settings of a network, and whose they are: "mobilenet_v1 cifar100", or "untuned"."""

    settings: dict[str, Any]
    source: str


def committed(method: str, backbone: str, dataset: str) -> Committed | None:
    """What ``--tune`` chose; None for a method that is tuned inside each split."""
    if not BY_NAME[method].seeded:
        return None
    table = json.loads(PATH.read_text("utf-8"))
    for place in ((backbone, dataset), DEFAULT):
        if found := table.get(place[0], {}).get(place[1], {}).get(method):
            return Committed(found["settings"], " ".join(place))
    return Committed(BY_NAME[method].settings, "untuned")
