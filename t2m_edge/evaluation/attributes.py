"""Attribute tasks ("animals with fur"): ``python -m t2m_edge.evaluation.attributes --packs D --shared D --cache D``

Each of the 85 attributes of Animals with Attributes 2 is compiled by its text alone as one class of a multi-label head
(int8, as in the file), and scores the test images of the animals that CIFAR-100 and Tiny-ImageNet share with it. What
an animal has is the source's binary table. Per attribute: area under the ROC curve and average precision.
"""

from __future__ import annotations

import json

import numpy as np

from t2m_edge.compiler.multi_label import with_levels
from t2m_edge.evaluation.commands import Parser, command, folder, own_folder, some_of
from t2m_edge.evaluation.pack_features import cached_features, need_packs, pack_name
from t2m_edge.evaluation.sources import need_data
from t2m_edge.hypernetworks.class_vectors import class_vectors
from t2m_edge.packs import Pack, load_pack
from t2m_edge.training.datasets import load_images
from t2m_edge.training.splits import EVALUATED, class_split
from t2m_exporters.quantize_head import quantize_head

ANIMALS = {
    "cifar100": {
        "beaver": "beaver", "cattle": "cow", "chimpanzee": "chimpanzee", "dolphin": "dolphin", "elephant": "elephant",
        "fox": "fox", "hamster": "hamster", "leopard": "leopard", "lion": "lion", "mouse": "mouse", "otter": "otter",
        "rabbit": "rabbit", "raccoon": "raccoon", "seal": "seal", "skunk": "skunk", "squirrel": "squirrel",
        "tiger": "tiger", "wolf": "wolf",
    },
    "tiny_imagenet": {
        "n02085620": "chihuahua", "n02106662": "german+shepherd", "n02123394": "persian+cat",
        "n02129165": "lion", "n02132136": "grizzly+bear", "n02403003": "ox", "n02410509": "buffalo",
        "n02423022": "antelope", "n02481823": "chimpanzee", "n02504458": "elephant",
    },
}  # fmt: skip
"""Class of a data set -> class of AwA."""
SEEABLE = 34
"""The first attributes of the list (black ... smelly) are looks but for the last; the others are habits and places."""

HEADER = (
    "| split | images | unseen classes | AUC | AUC, looks | AP (chance) | AUC on unseen classes (attributes) |\n"
    "|---|---|---|---|---|---|---|"
)


def attribute_text(name: str) -> str:
    """The description of an attribute's class."""
    return WORDS.get(name, f"an animal with the attribute {name}")


WORDS = {
    "furry": "an animal with fur", "hairless": "an animal without hair", "toughskin": "an animal with tough skin",
    "big": "a big animal", "small": "a small animal", "bulbous": "a fat round animal", "lean": "a lean animal",
    "flippers": "an animal with flippers", "hands": "an animal with hands", "hooves": "an animal with hooves",
    "pads": "an animal with pads on its feet", "paws": "an animal with paws", "longleg": "an animal with long legs",
    "longneck": "an animal with a long neck", "tail": "an animal with a tail", "horns": "an animal with horns",
    "claws": "an animal with claws", "tusks": "an animal with tusks", "stripes": "an animal with stripes",
    "spots": "an animal with spots", "patches": "an animal with patches", "swims": "an animal that swims",
    "water": "an animal that lives in water", "ocean": "an animal that lives in the ocean",
    "black": "a black animal", "white": "a white animal", "brown": "a brown animal", "gray": "a gray animal",
    "orange": "an orange animal", "yellow": "a yellow animal", "red": "a red animal", "blue": "a blue animal",
}  # fmt: skip


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, ties counting half, by ranks."""
    from_below = np.searchsorted(np.sort(scores[~positive]), scores[positive], "left")
    to_above = np.searchsorted(np.sort(scores[~positive]), scores[positive], "right")
    return float((from_below + to_above).mean() / 2 / (~positive).sum())


def average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """Mean over the positives of the precision at their rank."""
    hit = positive[np.argsort(-scores, kind="stable")]
    return float((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())


def attribute_scores(pack: Pack, names: list[str], features: np.ndarray) -> np.ndarray:
    """int8 logits of the multi-label head that ``compile`` writes, float32 (n, attributes)."""
    texts = [[attribute_text(name)] for name in names]
    vectors = class_vectors(pack.text_encoder.encode, pack.centres, names, texts, [()] * len(names))
    head = with_levels(pack.head(tuple(names), vectors), pack.bank.real)
    return quantize_head(head, pack.bank.features, pack.info.scale, pack.info.zero_point).logits(features)


@command
def main() -> None:
    parser = Parser("attributes", __doc__)
    parser.add_argument("--packs", type=folder, required=True, help="folder of strict packs")
    parser.add_argument("--shared", type=folder, required=True, help="the folder that holds data/")
    parser.add_argument("--cache", type=own_folder, required=True, help="where features are kept")
    parser.add_argument("--splits", type=some_of(EVALUATED), default="0,1,2,3,4")
    args = parser.parse_args()
    source = args.shared / "data" / "descriptions" / "awa2_attributes.json"
    need_data(args.shared, ANIMALS)
    need_packs(args.packs, args.splits)
    table = json.loads(source.read_text("utf-8"))
    names, binary = table["attributes"], np.array(table["binary"], bool)
    each, rows = [], []
    for split in args.splits:
        pack = load_pack(args.packs / pack_name(split))
        seen = class_split(args.shared, split).seen
        scores, has, new, fresh = [], [], [], 0
        for dataset, animals in ANIMALS.items():
            images = load_images(args.shared, args.cache, dataset, "test").only(tuple(animals))
            found = cached_features(pack, images, f"animals{split}", args.cache)
            scores.append(attribute_scores(pack, names, found.features))
            awa = np.array([table["classes"].index(a) for a in animals.values()])
            has.append(binary[awa[images.labels]])
            unseen = np.array([name not in seen[dataset] for name in animals])
            fresh += int(unseen.sum())
            new.append(unseen[images.labels])
        scores, has, new = np.concatenate(scores), np.concatenate(has), np.concatenate(new)
        usable = [i for i in range(len(names)) if 0 < has[:, i].mean() < 1]
        area = np.array([auc(scores[:, i], has[:, i]) for i in usable])
        precision = np.array([average_precision(scores[:, i], has[:, i]) for i in usable])
        chance = has[:, usable].mean()
        looks = np.array([i < SEEABLE - 1 for i in usable])
        alone = [auc(scores[new, i], has[new, i]) for i in usable if 0 < has[new, i].mean() < 1]
        each.append(dict(zip([names[i] for i in usable], area)))
        row = [100 * area.mean(), 100 * area[looks].mean(), 100 * precision.mean(), 100 * chance, 100 * np.mean(alone)]
        if not rows:
            print(HEADER)
        rows.append(row)
        print(
            f"| {split} | {len(has):,} | {fresh} | {row[0]:.1f} | {row[1]:.1f} | {row[2]:.1f} ({row[3]:.1f}) "
            f"| {row[4]:.1f} ({len(alone)}) |",
            flush=True,
        )
    mean = np.mean(rows, 0)
    print(f"| mean | | | {mean[0]:.1f} | {mean[1]:.1f} | {mean[2]:.1f} ({mean[3]:.1f}) | {mean[4]:.1f} |")
    by_name = {name: 100 * float(np.mean([e[name] for e in each])) for name in each[0]}
    order = sorted(by_name, key=by_name.get, reverse=True)
    print("\nbest: " + ", ".join(f"{n} {by_name[n]:.0f}" for n in order[:10]))
    print("worst: " + ", ".join(f"{n} {by_name[n]:.0f}" for n in order[-10:]))


if __name__ == "__main__":
    main()
