"""int8 against fp32 on unseen classes: ``python -m t2m_edge.evaluation.int8_accuracy --packs DIR --shared DIR``.

For each split, ``DIR/strict-S`` compiles the split's unseen classes, given by their descriptions, to an int8 and to an
fp32 ``.tflite``. Both classify the same test photos through ``t2m_runtime``: whole models, backbone and head. Told are
the accuracy of each and how often both name the same class. Tasks of 5 are the unseen classes of a split in groups.

``--heads PACK`` compares heads instead, as every compile does it: the int8 head with the float one on the pack's bank,
for tasks drawn from ImageNet's 1,000 names with two descriptions each.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from t2m_edge.compiler import compile
from t2m_edge.evaluation.commands import Parser, command, folder, own_folder, some_of
from t2m_edge.evaluation.metrics import per_class_accuracy
from t2m_edge.evaluation.pack_features import need_packs, pack_name
from t2m_edge.evaluation.report import paired
from t2m_edge.evaluation.sources import need_data, need_unseen
from t2m_edge.evaluation.zero_shot import described
from t2m_edge.packs import Pack, load_pack
from t2m_edge.task import ClassDescription, Task
from t2m_edge.training.datasets import ImageSet, load_images
from t2m_edge.training.features import prepared
from t2m_edge.training.splits import DATASETS, EVALUATED, class_split
from t2m_edge.training.texts import class_texts
from t2m_runtime import Classifier

FEW = 5
HEAD_TASKS = {10: 25, 20: 25, 50: 15, 200: 7, 1000: 1}
"""Number of classes -> how many tasks of that size are drawn."""


def scores(pack: Pack, classes: list[ClassDescription], precision: str, photos: np.ndarray) -> np.ndarray:
    """Scores float32 (n, k) of a compiled ``.tflite`` for prepared photos, uint8 (n, H, W, 3)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        compile(Task("unseen", tuple(classes)), path, pack=pack, precision=precision, min_agreement=0)
        with Classifier.load(path) as classifier:
            return np.stack([classifier.scores(photo) for photo in photos])


def compared(pack: Pack, classes: list[ClassDescription], photos: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """In percent: fp32 accuracy, int8 accuracy, photos that both give the same name."""
    fp32, int8 = (scores(pack, classes, precision, photos) for precision in ("fp32", "int8"))
    same = np.mean(fp32.argmax(1) == int8.argmax(1))
    return 100 * np.array([per_class_accuracy(fp32, labels), per_class_accuracy(int8, labels), same])


def study_split(pack: Pack, dataset: str, name: str, shared: Path, cache: Path) -> dict[int, tuple[int, np.ndarray]]:
    """{classes: (photos, what ``compared`` gives)} for the unseen classes of a split: all at once, and in groups."""
    unseen, texts = class_split(shared, name).unseen[dataset], class_texts(shared)[dataset]
    test = load_images(shared, cache, dataset, "test").only(unseen)
    test = ImageSet(dataset, prepared(test.images), test.labels, test.classes)
    found = {len(unseen): (len(test.labels), compared(pack, described(unseen, texts, "descriptions"), *_parts(test)))}
    groups = [unseen[i : i + FEW] for i in range(0, len(unseen) - FEW + 1, FEW)]
    if len(unseen) <= 20:
        few = [compared(pack, described(g, texts, "descriptions"), *_parts(test.only(g))) for g in groups]
        found[FEW] = len(test.labels), np.mean(few, 0)
    return found


def _parts(images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    return images.images, images.labels


def head_agreement(pack: Pack, shared: Path) -> dict[int, list[float]]:
    """{classes: share of bank images on which the int8 head chooses as the float head, for each drawn task}."""
    texts = json.loads((shared / "data" / "descriptions" / "imagenet_descriptors.json").read_text("utf-8"))
    names, rng, found = sorted(texts), np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as folder:
        for k, tasks in HEAD_TASKS.items():
            for _ in range(tasks):
                drawn = [names[i] for i in rng.choice(len(names), k, replace=False)]
                task = Task("drawn", tuple(ClassDescription(n, tuple(texts[n][:2])) for n in drawn))
                path = Path(folder) / "head.t2mh"
                report = compile(task, path, pack=pack, target="head", min_agreement=0, overwrite=True)
                found.setdefault(k, []).append(report.head.top1_agreement)
    return found


def table(results: dict[tuple[str, int], list[tuple[int, np.ndarray]]]) -> str:
    """Markdown, means over the splits: accuracies, int8 minus fp32 with its SEM, the same name, and its least split."""
    lines = [
        "| data | classes | photos a split | fp32 | int8 | int8 minus fp32 (SEM) | same name | least split |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (dataset, k), found in sorted(results.items()):
        values = np.stack([v for _, v in found])
        photos = min(n for n, _ in found)
        fp32, int8, same = values.mean(0)
        lines.append(
            f"| {dataset} | {k} | {photos:,} | {fp32:.1f} % | {int8:.1f} % | {paired(values[:, 1] - values[:, 0])} | "
            f"{same:.1f} % | {values[:, 2].min():.1f} % |"
        )
    return "\n".join(lines)


@command
def main() -> None:
    parser = Parser("int8_accuracy", __doc__)
    parser.add_argument("--packs", type=folder, help="folder with strict-0 to strict-4")
    parser.add_argument("--heads", metavar="PACK", help="compare heads of this pack instead, such as default")
    parser.add_argument("--shared", type=folder, required=True, help="the folder that holds data/")
    parser.add_argument("--cache", type=own_folder, default="runs/cache", help="where decoded images are kept")
    parser.add_argument("--splits", type=some_of(EVALUATED), default="0,1,2,3,4")
    parser.add_argument("--datasets", type=some_of(DATASETS), default="cifar100,grocery,tiny_imagenet")
    args = parser.parse_args()
    if args.heads:
        print("| classes | tasks | same class, median | least |\n|---|---|---|---|")
        for k, shares in head_agreement(load_pack(args.heads), args.shared).items():
            print(f"| {k:,} | {len(shares)} | {np.median(shares):.1%} | {min(shares):.1%} |")
        return
    if args.packs is None:
        parser.error("give --packs, or --heads PACK")
    need_data(args.shared, args.datasets)
    need_unseen(args.shared, args.datasets, args.splits)
    need_packs(args.packs, args.splits)
    results: dict[tuple[str, int], list[tuple[int, np.ndarray]]] = {}
    for dataset in args.datasets:
        for name in args.splits:
            print(f"{dataset}, split {name}", file=sys.stderr, flush=True)
            pack = load_pack(args.packs / pack_name(name))
            for k, found in study_split(pack, dataset, name, args.shared, args.cache).items():
                results.setdefault((dataset, k), []).append(found)
    print(table(results))


if __name__ == "__main__":
    main()
