"""Scores that mean something: ``python -m t2m_edge.evaluation.calibration --packs DIR --shared DIR --cache DIR``.

On the *tuning* pack, whose classes neither backbone nor hypernetwork has seen, two things are fitted: a temperature,
and a model of the accuracy that a task has (``t2m_edge.packs.calibration``). Both are checked on the unseen classes of
the strict packs, with "none of these" beside them (``compile --reject``): ten classes are inside, the others outside.
``--write PACK`` puts the calibration into packs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from t2m_edge.compiler.rejecting import with_none
from t2m_edge.compiler.trust import expected_accuracy, mean_likeness
from t2m_edge.evaluation.commands import Parser, command, folder, new_file, own_folder, positive, share, some_of
from t2m_edge.evaluation.metrics import per_class_accuracy
from t2m_edge.evaluation.pack_features import cached_features, need_packs, pack_name
from t2m_edge.evaluation.sources import need_data
from t2m_edge.evaluation.zero_shot import described, vectors
from t2m_edge.packs import Pack, load_pack
from t2m_edge.packs.calibration import MOST_CLASSES, AccuracyModel, Calibration
from t2m_edge.packs.writing import rewrite_facts
from t2m_edge.training.datasets import load_images
from t2m_edge.training.splits import DATASETS, SPLITS, class_split
from t2m_edge.training.texts import class_texts
from t2m_runtime import Head
from t2m_runtime.head import softmax

CONDITIONS = ("descriptions", "name")
WAYS = (2, 3, 5, 8, 12, MOST_CLASSES)
DRAWS = 40
TEMPERATURES = np.exp(np.linspace(np.log(0.4), np.log(2.5), 61))
BINS = 15
INSIDE = 10


@dataclass(frozen=True)
class Drawn:
    """One task and the images of its classes. features float32 (n, d); labels int (n,) into the head's rows."""

    head: Head
    features: np.ndarray
    labels: np.ndarray

    @property
    def logits(self) -> np.ndarray:
        """float32 (n, k)."""
        return self.head.logits(self.features)


@dataclass(frozen=True)
class Described:
    """The unseen classes of a data set under one condition, for a pack: their vectors and all their test images."""

    pack: Pack
    dataset: str
    condition: str
    names: tuple[str, ...]
    vectors: np.ndarray
    features: np.ndarray
    labels: np.ndarray

    def task(self, classes: np.ndarray) -> Drawn:
        """The task of some of the classes."""
        number = np.full(len(self.names), -1)
        number[classes] = np.arange(len(classes))
        inside = number[self.labels] >= 0
        head = self.pack.head(tuple(self.names[c] for c in classes), self.vectors[classes])
        return Drawn(head, self.features[inside], number[self.labels[inside]])


def described_classes(pack: Pack, split: str, shared: Path, cache: Path) -> Iterator[Described]:
    """Every data set and condition of a split."""
    unseen, texts = class_split(shared, split).unseen, class_texts(shared)
    for dataset in DATASETS:
        if not unseen[dataset]:
            continue
        test = load_images(shared, cache, dataset, "test").only(unseen[dataset])
        features = cached_features(pack, test, f"test{split}", cache).real
        for condition in CONDITIONS:
            classes = described(test.classes, texts[dataset], condition)
            names = tuple(c.name for c in classes)
            yield Described(pack, dataset, condition, names, vectors(pack, classes), features, test.labels)


def drawn_tasks(classes: Described, draws: int, seed: int = 0) -> Iterator[Drawn]:
    """Random tasks of 2 to 20 of the classes."""
    rng = np.random.default_rng(seed)
    for ways in WAYS:
        for _ in range(draws if ways < len(classes.names) else 1):
            yield classes.task(rng.permutation(len(classes.names))[:ways])


def fit(tasks: dict[str, list[Drawn]]) -> Calibration:
    """Temperature of the least mean negative log likelihood, and least squares in the log odds of the accuracies.

    A user's task is of another kind than those measured, so the range of the accuracy is what tasks of one data set lay
    beside the fit on the others.

    Args:
        tasks: of each data set.
    """
    everything = [t for of_set in tasks.values() for t in of_set]
    owner = np.repeat(np.arange(len(tasks)), [len(of_set) for of_set in tasks.values()])
    found = [(t.logits, t.labels) for t in everything]
    losses = [np.mean([loss(logits / t, labels) for logits, labels in found]) for t in TEMPERATURES]
    share = np.clip([per_class_accuracy(logits, labels) for logits, labels in found], 0.02, 0.98)
    odds = np.log(share / (1 - share))
    known = np.array([[1, np.log(len(t.head.labels) - 1), mean_likeness(t.head)] for t in everything])

    def fitted(rows: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(known[rows], odds[rows], rcond=None)[0]

    beside = np.concatenate(
        [(odds - known @ fitted(owner != d if len(tasks) > 1 else owner == d))[owner == d] for d in range(len(tasks))]
    )
    model = AccuracyModel(*(round(float(v), 4) for v in (*fitted(owner >= 0), *np.quantile(beside, (0.1, 0.9)))))
    return Calibration(round(float(TEMPERATURES[int(np.argmin(losses))]), 3), model)


def loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log likelihood."""
    return float(-np.log(np.maximum(softmax(logits)[np.arange(len(labels)), labels], 1e-12)).mean())


def calibration_error(scores: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error in 15 bins of the best score (Guo et al. 2017, arXiv 1706.04599)."""
    best, right = scores.max(1), scores.argmax(1) == labels
    bins = np.minimum((best * BINS).astype(int), BINS - 1)
    parts = [(bins == b) for b in range(BINS)]
    return float(sum(p.mean() * abs(right[p].mean() - best[p].mean()) for p in parts if p.any()))


@dataclass(frozen=True)
class Checked:
    """What a calibration did on the unseen classes of one split, data set and condition.

    error_before, error_after: expected calibration error of 20-way scores; inside: share of tasks whose accuracy fell
    in the stated range; off: mean absolute difference to the expected one. Of tasks with ten classes inside and the
    others outside: auroc, false_accepts, kept (share of inside images that are not rejected) and the accuracy among
    those kept beside the accuracy without rejection.
    """

    error_before: float
    error_after: float
    inside: float
    off: float
    auroc: float
    false_accepts: float
    kept: float
    right_of_kept: float
    right_of_all: float


def check(classes: Described, calibration: Calibration, rate: float, draws: int, seed: int = 1) -> Checked:
    """Read on classes that had no part in fitting; see Checked."""
    whole = classes.task(np.arange(len(classes.names)))
    before, after = (calibration_error(softmax(whole.logits / t), whole.labels) for t in (1.0, calibration.temperature))
    within, off = [], []
    for task in drawn_tasks(classes, draws, seed):
        expected = expected_accuracy(task.head, calibration)
        share = per_class_accuracy(task.logits, task.labels)
        within.append(expected.low <= share <= expected.high)
        off.append(abs(expected.accuracy - share))
    rng = np.random.default_rng(seed)
    rejected = []
    for _ in range(draws):
        order = rng.permutation(len(classes.names))
        task, others = classes.task(order[:INSIDE]), np.isin(classes.labels, order[INSIDE:])
        _, rejection = with_none(task.head, rate, classes.pack)
        best, outside = task.logits.max(1), task.head.logits(classes.features[others]).max(1)
        kept, right = best > rejection.logit, task.logits.argmax(1) == task.labels
        rejected.append(
            (
                np.mean(best[:, None] > outside),
                np.mean(outside > rejection.logit),
                kept.mean(),
                right[kept].mean() if kept.any() else np.nan,
                right.mean(),
            )
        )
    return Checked(before, after, float(np.mean(within)), float(np.mean(off)), *np.nanmean(rejected, 0).tolist())


def table(found: dict[tuple[str, str], list[Checked]]) -> str:
    """Markdown: means over the splits."""
    lines = [
        "| data | condition | calibration error, before / after | accuracy in the stated range | mean miss, points "
        "| AUROC | false accepts | kept inside | right: all / kept |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for (dataset, condition), results in found.items():
        m = {k: float(np.mean([getattr(r, k) for r in results])) for k in Checked.__dataclass_fields__}
        lines.append(
            f"| {dataset} | {condition} | {m['error_before']:.3f} / {m['error_after']:.3f} | {m['inside']:.0%} "
            f"| {100 * m['off']:.1f} | {m['auroc']:.2f} | {m['false_accepts']:.1%} | {m['kept']:.0%} "
            f"| {m['right_of_all']:.0%} / {m['right_of_kept']:.0%} |"
        )
    return "\n".join(lines)


@command
def main() -> None:
    parser = Parser("calibration", __doc__)
    parser.add_argument("--packs", type=folder, required=True, help="folder with strict-tuning and strict-0 to -4")
    parser.add_argument("--shared", type=folder, required=True, help="the folder that holds data/")
    parser.add_argument("--cache", type=own_folder, required=True, help="where features are kept")
    parser.add_argument(
        "--splits", type=some_of(SPLITS), default=",".join(SPLITS[:5]), help="checked on their unseen classes"
    )
    parser.add_argument("--reject", type=share, default=0.05, help="share of outside images that may get a name")
    parser.add_argument("--draws", type=positive, default=DRAWS, help="tasks of each size")
    parser.add_argument("--write", type=Path, action="append", default=[], metavar="PACK", help="put it into this pack")
    parser.add_argument("--json", type=new_file, help="write all figures here")
    args = parser.parse_args()
    need_data(args.shared, DATASETS)
    need_packs(args.packs, ["tuning", *args.splits])
    for path in args.write:
        load_pack(path)
    pack = uncalibrated(args.packs / pack_name("tuning"))
    tasks: dict[str, list[Drawn]] = {}
    for classes in described_classes(pack, "tuning", args.shared, args.cache):
        tasks.setdefault(classes.dataset, []).extend(drawn_tasks(classes, args.draws))
    calibration = fit(tasks)
    found: dict[tuple[str, str], list[Checked]] = {}
    for split in args.splits:
        strict = uncalibrated(args.packs / pack_name(split))
        for classes in described_classes(strict, split, args.shared, args.cache):
            checked = check(classes, calibration, args.reject, args.draws)
            found.setdefault((classes.dataset, classes.condition), []).append(checked)
    print(f"temperature {calibration.temperature}, accuracy {calibration.accuracy}\n\n{table(found)}")
    within = float(np.mean([c.inside for results in found.values() for c in results]))
    source = {"fitted_on": pack.info.name, "tasks_in_the_stated_range": round(within, 3)}
    for path in args.write:
        rewrite_facts(path, {"calibration": replace(calibration, source=source).to_dict()})
        print(f"{path}: calibration written")
    if args.json:
        figures = {f"{d}, {c}": [vars(r) for r in results] for (d, c), results in found.items()}
        args.json.write_text(json.dumps({"calibration": calibration.to_dict(), "checked": figures}, indent=1) + "\n")


def uncalibrated(path: Path) -> Pack:
    """A pack whose logits are as its hypernetwork makes them."""
    pack = load_pack(path)
    pack.info = replace(pack.info, calibration=Calibration())
    return pack


if __name__ == "__main__":
    main()
