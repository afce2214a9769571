"""The model card of a pack: ``python -m t2m_edge.evaluation.model_card --packs DIR --shared DIR --cache DIR``.

The release pack has seen every class that there are images of, so accuracy on unseen classes is the strict packs'. What
the card says of the pack itself is read from ``pack.json`` and measured on Grocery's test photos; calibration and "none
of these" come from the JSON of ``t2m_edge.evaluation.calibration``. Writes NAME.md, NAME.json (every figure) and a few
photos that the pack gets wrong.
"""

from __future__ import annotations

import argparse
import json
import string
import tempfile
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from t2m_edge.compiler import compile
from t2m_edge.evaluation.calibration import described_classes
from t2m_edge.evaluation.commands import Parser, command, file, folder, own_folder, some_of
from t2m_edge.evaluation.metrics import drawn_tasks_accuracy, per_class_accuracy
from t2m_edge.evaluation.pack_features import need_packs, pack_name
from t2m_edge.evaluation.report import means, over_splits
from t2m_edge.evaluation.sources import need_data
from t2m_edge.evaluation.zero_shot import head_logits, vectors
from t2m_edge.packs import Pack, load_pack
from t2m_edge.task import ClassDescription, read_task
from t2m_edge.task.description import plain_name
from t2m_edge.training.datasets import load_images
from t2m_edge.training.features import prepared
from t2m_edge.training.splits import DATASETS, SPLITS
from t2m_runtime import Classifier, InputError

TITLES = {"cifar100": "CIFAR-100", "tiny_imagenet": "Tiny-ImageNet", "grocery": "Grocery"}
WORST = 6
PHOTOS = 5
DRAWS = 200


@dataclass(frozen=True)
class Unseen:
    """int8 logits (n, k) of all unseen classes of a split in one task, and the images' labels (n,)."""

    dataset: str
    condition: str
    names: tuple[str, ...]
    logits: np.ndarray
    labels: np.ndarray


def strict_results(packs: Path, splits: list[str], shared: Path, cache: Path) -> list[Unseen]:
    """Of every split, data set and condition."""
    found = []
    for split in splits:
        pack = load_pack(packs / pack_name(split))
        info = pack.info
        for classes in described_classes(pack, split, shared, cache):
            head = pack.head(classes.names, classes.vectors)
            int8 = (np.rint(classes.features / info.scale) + info.zero_point).astype(np.int8)
            logits = head_logits(pack, head, int8)
            found.append(Unseen(classes.dataset, classes.condition, classes.names, logits, classes.labels))
    return found


def accuracies(results: list[Unseen]) -> dict[str, dict[str, list[list[float]]]]:
    """{data set: {condition: [[over all classes, 5-way, 2-way] of each split]}} in percent."""
    out: dict[str, dict[str, list[list[float]]]] = {}
    for r in results:
        ways = [per_class_accuracy(r.logits, r.labels), *(drawn_tasks_accuracy(r.logits, r.labels, w) for w in (5, 2))]
        out.setdefault(r.dataset, {}).setdefault(r.condition, []).append([round(100 * w, 2) for w in ways])
    return out


@dataclass(frozen=True)
class ClassResult:
    """One unseen class over the splits that hold it out: its images, those named right, and what others were called."""

    name: str
    images: int
    right: int
    called: tuple[tuple[str, int], ...]

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.right / self.images


def class_results(results: list[Unseen], dataset: str) -> list[ClassResult]:
    """Of every class given by descriptions, the worst first."""
    answers: dict[str, Counter[str]] = {}
    for r in results:
        if (r.dataset, r.condition) == (dataset, "descriptions"):
            for true, called in zip(r.labels, r.logits.argmax(1), strict=True):
                answers.setdefault(r.names[true], Counter())[r.names[called]] += 1
    found = []
    for name, counts in answers.items():
        wrong = [(other, n) for other, n in counts.most_common() if other != name]
        found.append(ClassResult(name, counts.total(), counts[name], tuple(wrong[:3])))
    return sorted(found, key=lambda c: (c.accuracy, c.name))


@dataclass(frozen=True)
class Mistake:
    """A photo, uint8 (side, side, 3), its class, and the wrong answer with its score."""

    photo: np.ndarray
    true: str
    called: str
    score: float


def on_photos(pack: Pack, task_path: Path, shared: Path, cache: Path) -> tuple[dict[str, list[int]], list[Mistake]]:
    """{class: [right, photos]} on Grocery's test photos of the task's classes, and the surest mistake of each class."""
    task = read_task(task_path)
    number = {plain_name(c.name): i for i, c in enumerate(task.classes)}
    photos = load_images(shared, cache, "grocery", "test")
    photos = photos.only(tuple(c for c in photos.classes if plain_name(c) in number))
    if len(photos.classes) != len(task.classes):
        raise InputError(f"{task_path}: not every class is one of Grocery's")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        compile(task, path, pack=pack)
        with Classifier.load(path) as classifier:
            scores = np.stack([classifier.scores(image) for image in prepared(photos.images)])
    true = np.array([number[plain_name(c)] for c in photos.classes])[photos.labels]
    called, labels = scores.argmax(1), [c.name for c in task.classes]
    counts = {labels[i]: [int((called[true == i] == i).sum()), int((true == i).sum())] for i in range(len(labels))}
    mistakes = []
    for i in range(len(labels)):
        wrong = np.flatnonzero((true == i) & (called != i))
        if len(wrong):
            worst = wrong[scores[wrong].max(1).argmax()]
            mistakes.append(Mistake(photos.images[worst], labels[i], labels[called[worst]], float(scores[worst].max())))
    return counts, sorted(mistakes, key=lambda m: -m.score)


def drawn_from_seen(pack: Pack, ways: int = 10) -> float:
    """Mean per-class top-1 in percent on the bank, of tasks drawn from all seen classes by their bare names."""
    bank = pack.bank
    head = pack.head(bank.classes, vectors(pack, [ClassDescription(c) for c in bank.classes]))
    return 100 * drawn_tasks_accuracy(head.logits(bank.real), bank.labels, ways, DRAWS)


def accuracy_table(found: dict[str, dict[str, list[list[float]]]], ways: dict[str, int]) -> str:
    """Markdown."""
    lines = ["| data | condition | all classes (chance) | 5-way (20) | 2-way (50) |", "|---|---|---|---|---|"]
    for dataset, of_dataset in found.items():
        for condition, rows in of_dataset.items():
            values = np.array(rows)
            cells = means(values)
            cells[0] += f" ({100 / ways[dataset]:.0f}, {ways[dataset]}-way)"
            lines.append(f"| {TITLES[dataset]} | {condition} | {' | '.join(cells)} |")
    return "\n".join(lines)


def failure_table(found: dict[str, list[ClassResult]]) -> str:
    """Markdown: the worst classes of each data set, and its three best for contrast."""
    lines = ["| data | class | right | taken for |", "|---|---|---|---|"]
    for dataset, classes in found.items():
        for c in [*classes[:WORST], *classes[-3:]]:
            others = ", ".join(f"{name} {100 * n / c.images:.0f} %" for name, n in c.called)
            lines.append(f"| {TITLES[dataset]} | {c.name} | {c.accuracy:.0f} % | {others} |")
    return "\n".join(lines)


def checked_tables(checked: dict[str, list[dict[str, float]]]) -> tuple[str, str]:
    """Markdown of calibration and of rejection, means over the splits; from the JSON of evaluation.calibration."""
    first = [
        "| data | condition | calibration error without / with temperature | tasks in the stated range |",
        "|---|---|---|---|",
    ]
    second = [
        "| data | condition | AUROC | false accepts (asked: 5 %) | inside kept | right, all / kept |",
        "|---|---|---|---|---|---|",
    ]
    for key, rows in checked.items():
        dataset, condition = key.split(", ")
        m = {k: float(np.mean([r[k] for r in rows])) for k in rows[0]}
        start = f"| {TITLES[dataset]} | {condition} "
        first.append(f"{start}| {m['error_before']:.3f} / {m['error_after']:.3f} | {100 * m['inside']:.0f} % |")
        second.append(
            f"{start}| {m['auroc']:.2f} | {100 * m['false_accepts']:.1f} % | {100 * m['kept']:.0f} % "
            f"| {100 * m['right_of_all']:.0f} / {100 * m['right_of_kept']:.0f} % |"
        )
    return "\n".join(first), "\n".join(second)


def write_pictures(mistakes: list[Mistake], name: str, folder: Path) -> str:
    """Save the photos as JPEG; Markdown of them in a row."""
    heads, cells = [], []
    for i, mistake in enumerate(mistakes):
        file = f"{name}-mistake-{i}.jpg"
        Image.fromarray(mistake.photo).save(folder / file, quality=85, optimize=True)
        heads.append(f"![{mistake.true}]({file})")
        cells.append(f"{mistake.true}, taken for {mistake.called} ({100 * mistake.score:.0f} %)")
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), cells))


def card(args: argparse.Namespace) -> None:
    """Measure and write."""
    need_data(args.shared, DATASETS)
    need_packs(args.packs, args.splits)
    pack, splits = load_pack(args.pack), args.splits
    results = strict_results(args.packs, splits, args.shared, args.cache)
    ways = {r.dataset: len(r.names) for r in results}
    found = accuracies(results)
    failures = {d: class_results(results, d) for d in DATASETS if d in found}
    counts, mistakes = on_photos(pack, args.task, args.shared, args.cache)
    shares = {c: 100 * right / photos for c, (right, photos) in counts.items()}
    measured: dict[str, Any] = json.loads(args.calibration.read_text("utf-8"))
    calibration, reject = checked_tables(measured["checked"])
    drawn = drawn_from_seen(pack)
    args.output.mkdir(parents=True, exist_ok=True)
    info, name = pack.info, pack.info.name
    size = {
        p: sum(f["bytes"] for n, f in pack.files.items() if n.startswith(p)) / 1e6
        for p in ("backbone/int8.tflite", "text/")
    }
    facts = {
        "name": name,
        "version": info.version,
        "command": "python -m t2m_edge.evaluation.model_card --packs packs --shared ../shared --cache runs/cache",
        "height": info.input.height,
        "width": info.input.width,
        "features": info.features,
        "backbone_mb": f"{size['backbone/int8.tflite']:.2f}",
        "text_mb": f"{size['text/']:.1f}",
        "bank": f"{len(pack.bank.labels):,}",
        "probes": len(pack.probes.images),
        **{d: len(info.provenance["seen"][d]) for d in DATASETS},
        "over_splits": over_splits(len(splits)),
        "accuracy": accuracy_table(found, ways),
        "failures": failure_table(failures),
        "photos": sum(photos for _, photos in counts.values()),
        "own": f"{np.mean(list(shares.values())):.0f}",
        "own_classes": ", ".join(f"{c} {s:.0f}" for c, s in sorted(shares.items(), key=lambda item: -item[1])),
        "drawn": f"{drawn:.0f}",
        "pictures": write_pictures(mistakes[:PHOTOS], name, args.output),
        "temperature": info.calibration.temperature,
        "calibration": calibration,
        "error": f"{np.mean([r['error_after'] for rows in measured['checked'].values() for r in rows]):.3f}",
        "reject": reject,
    }
    template = resources.files("t2m_edge.evaluation").joinpath("model_card.md").read_text("utf-8")
    (args.output / f"{name}.md").write_text(string.Template(template).substitute(facts), "utf-8")
    figures: dict[str, Any] = {
        "schema_version": 1,
        "pack": vars(pack.ref),
        "command": facts["command"],
        "strict_packs": found,
        "photos": counts,
        "ten_seen_classes": round(drawn, 2),
        "classes": [],
    }
    rows = ",\n".join(json.dumps({"data": d} | vars(c)) for d, of in failures.items() for c in of)
    text = json.dumps(figures, indent=1).replace('"classes": []', f'"classes": [\n{rows}\n ]')
    (args.output / f"{name}.json").write_text(text + "\n", "utf-8")


@command
def main() -> None:
    parser = Parser("model_card", __doc__)
    parser.add_argument("--pack", default="default")
    parser.add_argument("--packs", type=folder, required=True, help="folder with strict-0 to strict-4")
    parser.add_argument("--splits", type=some_of(SPLITS), default=",".join(SPLITS[:5]))
    parser.add_argument("--shared", type=folder, required=True, help="the folder that holds data/")
    parser.add_argument("--cache", type=own_folder, required=True, help="where features are kept")
    parser.add_argument("--task", type=file, default="examples/grocery.txt", help="classes of Grocery")
    parser.add_argument("--calibration", type=file, default="docs/accuracy/calibration.json")
    parser.add_argument("-o", "--output", type=own_folder, default="docs/packs")
    card(parser.parse_args())


if __name__ == "__main__":
    main()
