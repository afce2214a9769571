"""What the study leaves behind for one backbone and data set: a page of tables, a JSON file and a plot."""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from t2m_edge.evaluation.methods import LINEAR
from t2m_edge.evaluation.methods.method import CONDITIONS
from t2m_edge.evaluation.plots import plot_accuracy
from t2m_edge.evaluation.report import best_of, difference_table, generalised_table, over_splits, paired, table
from t2m_edge.evaluation.sources import NUMBERED, STRICT, Place

SCHEMA_VERSION = 1
WIDTH = 120
BREAK = " \\\n      "
"""Between the lines of a command."""
DATA = {"cifar100": "CIFAR-100", "tiny_imagenet": "Tiny-ImageNet", "grocery": "Grocery"}
WAYS = {"cifar100": 20, "tiny_imagenet": 50, "grocery": 20}
BACKBONE = {
    STRICT: "the int8 backbones of the strict packs, one a split",
    "mobilenet_v1": "frozen MobileNetV1 embedding",
    "mobilenet_v2": "frozen MobileNetV2",
    "mobilenet_edgetpu": "frozen MobileNet-EdgeTPU",
}
SAW_IMAGENET = "The backbone saw ImageNet-1k: here unseen means unseen by what is trained on top."
SAW_PSEUDO_UNSEEN = (
    "The backbone of a split was not taught its unseen classes. It was taught the pseudo-unseen classes that tuning "
    "reads, so tuned strengths lean to what suits seen classes: for all methods alike."
)
Results = dict[tuple[str, Place, int], dict[str, Any]]
"""{(method, place, seed): what ``jobs.measure`` gave}."""


@dataclass(frozen=True)
class Page:
    """The results of one backbone, data set and group of splits.

    joint: the generalised setting, where it was asked for. encoders: ids by name. tuned_on: for each network whose
    committed settings it has.
    """

    places: list[Place]
    methods: list[str]
    figures: Results
    joint: Results | None
    encoders: dict[str, str]
    tuned_on: dict[str, str]
    seeds: int

    @property
    def splits(self) -> list[str]:
        """In order."""
        return list(dict.fromkeys(p.split for p in self.places))

    @property
    def numbered(self) -> bool:
        """The random splits, and not the strict class sets."""
        return self.splits[0] in NUMBERED

    @property
    def name(self) -> str:
        """Of the files."""
        first = self.places[0]
        return f"{first.backbone}-{first.dataset}{'' if self.numbered else '-strict-sets'}"

    @property
    def title(self) -> str:
        """Data, backbone and splits in words."""
        first = self.places[0]
        splits = "" if self.numbered else ", " + ", ".join(self.splits)
        return f"{DATA[first.dataset]}{splits}: {BACKBONE[first.backbone]}"

    def of_split(self, method: str, encoder: str, split: str) -> list[dict[str, Any]]:
        """What was measured there, one a seed."""
        return [
            found
            for (m, place, _), found in self.figures.items()
            if (m, place.encoder, place.split) == (method, encoder, split)
        ]

    @cached_property
    def accuracy(self) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        """{encoder: {method: {condition: float64 (splits, 3)}}}, means over the seeds."""
        return {
            e: {
                m: {
                    c: np.array([np.mean([r["accuracy"][c] for r in self.of_split(m, e, s)], 0) for s in self.splits])
                    for c in CONDITIONS
                }
                for m in self.methods
            }
            for e in self.encoders
        }

    @cached_property
    def generalised(self) -> dict[str, dict[str, np.ndarray]]:
        """{encoder: {method: float64 (splits, 2, 3)}}: u, s and H without and with calibration."""
        if self.joint is None:
            return {}
        by_place = {(m, p): [r["plain"], r["calibrated"]] for (m, p, _), r in self.joint.items()}
        return {
            e: {m: np.array([by_place[m, p] for p in self.places if p.encoder == e]) for m in self.methods}
            for e in self.encoders
        }

    @property
    def seconds(self) -> dict[str, int]:
        """Processor seconds by encoder, of all splits and seeds; {} where a result does not say."""
        parts = [*self.figures.items(), *(self.joint or {}).items()]
        if any("cpu_s" not in result for _, result in parts):
            return {}
        return {e: round(sum(r["cpu_s"] for (_, p, _), r in parts if p.encoder == e)) for e in self.encoders}

    def command(self, separator: str = " ") -> str:
        """What gives this page, with folders as docs/training.md names them."""
        first = self.places[0]
        packs = " --packs packs" if first.backbone == STRICT else ""
        encoders = " ".join(f"--encoder {e}" for e in self.encoders)
        more = f" --seeds {self.seeds}" * (self.seeds > 1) + " --generalised" * (self.joint is not None)
        return separator.join(
            [
                f"python -m t2m_edge.evaluation --shared ../shared --cache runs/cache{packs} {encoders}",
                f"--backbones {first.backbone} --datasets {first.dataset} --splits {','.join(self.splits)}{more}",
                f'--out docs/accuracy --methods "{"; ".join(self.methods)}"',
            ]
        )

    def markdown(self) -> str:
        """Tables of all encoders."""
        first, ways = self.places[0], WAYS[self.places[0].dataset]
        networks = [f"{m} ({s})" for m, s in self.tuned_on.items()]
        what = (
            f"Mean per-class top-1 in %, {over_splits(len(self.splits))}; all test images of "
            f"the {ways} unseen classes. Chance: {100 / ways:.0f} % ({ways}-way), 20 % (5-way), 50 % (2-way). "
            + (SAW_PSEUDO_UNSEEN if first.backbone == STRICT else SAW_IMAGENET)
        )
        how = "Closed forms are tuned for each split and condition on pseudo-unseen classes inside the seen ones. "
        if networks:
            how += f"Networks, {self.seeds} seed(s), have the committed settings of: {', '.join(networks)}. "
        how += "The best linear method of a condition is picked in hindsight, in the linear methods' favour."
        lines = [
            f"# {self.title}",
            "",
            fill(what, WIDTH, break_on_hyphens=False),
            "",
            fill(how, WIDTH, break_on_hyphens=False),
            "",
        ]
        lines += [f"    {self.command(BREAK)}"]
        if self.seconds:
            times = ", ".join(f"{s} s with {e}" for e, s in self.seconds.items())
            lines += ["", f"Processor time, all splits and seeds: {times}."]
        linear = [m.name for m in LINEAR if m.name in self.methods]
        for encoder, found in self.accuracy.items():
            lines += ["", f"## Texts by {encoder}", "", table(found, linear, ways)]
            if encoder in self.generalised:
                lines += ["", f"Seen and unseen classes in one task, given descriptions, texts by {encoder}:", ""]
                lines += [generalised_table(self.generalised[encoder])]
        reference = next(iter(self.encoders))
        for encoder in list(self.encoders)[1:]:
            lines += ["", f"## {ways}-way: {encoder} minus {reference}", ""]
            lines += [difference_table(self.accuracy[encoder], self.accuracy[reference])]
        return "\n".join(lines)

    def json(self) -> dict[str, Any]:
        """Everything, as plain data."""
        first = self.places[0]
        return {
            "schema_version": SCHEMA_VERSION,
            "title": self.title,
            "command": self.command(),
            "versions": {"python": platform.python_version()}
            | {p: metadata.version(p) for p in ("numpy", "torch", "ai-edge-litert")},
            "backbone": first.backbone,
            "dataset": first.dataset,
            "splits": self.splits,
            "ways": WAYS[first.dataset],
            "seeds": self.seeds,
            "encoders": self.encoders,
            "settings_of_networks_from": self.tuned_on,
            "processor_seconds": self.seconds,
            "results": [
                {"method": m, "encoder": p.encoder, "split": p.split, "seed": seed, "settings": found.get("settings")}
                | {c: [round(v, 4) for v in values] for c, values in found["accuracy"].items()}
                for (m, p, seed), found in self.figures.items()
            ],
            "generalised": {
                e: {m: np.round(v, 2).tolist() for m, v in of.items()} for e, of in self.generalised.items()
            },
        }

    def write(self, folder: Path) -> None:
        """name.md, name.json and, where matplotlib is installed, name.svg."""
        folder.mkdir(parents=True, exist_ok=True)
        text = self.markdown()
        try:
            chance = 100 / WAYS[self.places[0].dataset]
            plot_accuracy(self.accuracy, chance, self.title, folder / f"{self.name}.svg")
            text = text.replace("\n## ", f"\n![accuracy by method]({self.name}.svg)\n\n## ", 1)
        except ModuleNotFoundError:
            print("no matplotlib, so no plot: pip install 't2m-edge[study]'", file=sys.stderr)
        (folder / f"{self.name}.md").write_text(text + "\n", "utf-8")
        lines = ",\n".join(json.dumps(r) for r in self.json()["results"])
        rest = json.dumps(self.json() | {"results": []}, indent=1)
        (folder / f"{self.name}.json").write_text(
            rest.replace('"results": []', f'"results": [\n{lines}\n ]') + "\n", "utf-8"
        )


def write_index(folder: Path) -> None:
    """README.md: what each page holds, and what it says about descriptions in one line."""
    lines = [
        "# Tables of the accuracy study",
        "",
        "Written by `python -m t2m_edge.evaluation ... --out docs/accuracy`; each page has its command. "
        "[accuracy.md](../accuracy.md) says what they mean.",
        "",
        "| page | texts by | best linear, descriptions | best other method, descriptions | difference (SEM) |",
        "|---|---|---|---|---|",
    ]
    linear = {m.name for m in LINEAR}
    for path in sorted(folder.glob("*.json")):
        page = json.loads(path.read_text("utf-8"))
        if "results" not in page or "encoders" not in page:
            continue
        for encoder in page["encoders"]:
            found: dict[str, dict[str, np.ndarray]] = {}
            for name in dict.fromkeys(r["method"] for r in page["results"]):
                rows = [
                    np.mean(
                        [
                            r["descriptions"]
                            for r in page["results"]
                            if (r["method"], r["encoder"], r["split"]) == (name, encoder, s)
                        ],
                        0,
                    )
                    for s in page["splits"]
                ]
                found[name] = {"descriptions": np.array(rows)}
            base = best_of(found, [m for m in found if m in linear], "descriptions")
            other = best_of(found, [m for m in found if m not in linear], "descriptions")
            cells = [f"{m}: {found[m]['descriptions'].mean(0)[0]:.1f}" if m else "" for m in (base, other)]
            last = ""
            if base and other:
                last = paired(found[other]["descriptions"][:, 0] - found[base]["descriptions"][:, 0])
            lines.append(f"| [{page['title']}]({path.stem}.md) | {encoder} | {' | '.join(cells)} | {last} |")
    (folder / "README.md").write_text("\n".join(lines) + "\n", "utf-8")
