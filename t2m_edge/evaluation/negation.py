"""Negative texts: ``python -m t2m_edge.evaluation.negation --packs DIR --shared DIR --cache DIR``.

Two-way tasks of all pairs of a strict split's unseen CIFAR-100 classes. A negative text of class a against b is
"something that is X" behind ``not:``, for up to four attributes X that b has and a lacks, from a hand-made table
(``cifar100_attributes.json``: 19 kinds, 32 properties). No attribute and no negative text had a part in training.
Class names are left out, so that the texts alone decide.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np

from t2m_edge.evaluation.pack_features import cached_features, pack_name
from t2m_edge.hypernetworks.class_vectors import unit
from t2m_edge.packs import Pack, load_pack
from t2m_edge.training.datasets import load_images
from t2m_edge.training.splits import SPLITS, class_split
from t2m_edge.training.texts import class_texts

MOST = 4
Vector = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""(positive texts, negative texts) -> class vector float32 (2 d_text,)."""


def attributes() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """{class: its attributes}, of kinds and properties together, and of properties alone."""
    table = json.loads(resources.files("t2m_edge.evaluation").joinpath("cifar100_attributes.json").read_text("utf-8"))
    both: dict[str, set[str]] = {}
    properties: dict[str, set[str]] = {}
    for group, found in ((both, "kinds"), (both, "properties"), (properties, "properties")):
        for attribute, classes in table[found].items():
            for c in classes:
                group.setdefault(c, set()).add(attribute)
    return both, properties


def class_vector(pack: Pack) -> Vector:
    """Class vectors of texts without a name, each text encoded once."""
    known: dict[str, np.ndarray] = {}

    def half(texts: Sequence[str]) -> np.ndarray:
        new = [t for t in texts if t not in known]
        if new:
            known.update(zip(new, pack.text_encoder.encode(new) - pack.centres.text))
        return unit(np.mean([known[t] for t in texts], 0)) if texts else np.zeros_like(pack.centres.text)

    return lambda texts, negatives: np.concatenate([half(texts), half(negatives)]).astype(np.float32)


def study(pack: Pack, split: str, shared: Path, cache: Path) -> dict[str, float]:
    """{how the two classes are given: mean two-way accuracy in percent over all pairs that have such texts}."""
    both, properties = attributes()
    texts, rng = class_texts(shared)["cifar100"], np.random.default_rng(0)
    test = load_images(shared, cache, "cifar100", "test").only(class_split(shared, split).unseen["cifar100"])
    features = cached_features(pack, test, f"test{split}", cache).real
    images = [features[test.labels == i] for i in range(len(test.classes))]
    vector, found = class_vector(pack), dict[str, list[float]]()

    def lacking(has: dict[str, set[str]], a: str, b: str) -> list[str]:
        """Up to four things that b is and a is not."""
        differ = sorted(has.get(b, set()) - has.get(a, set()))
        return [f"something that is {x}" for x in rng.permutation(differ)[:MOST]]

    def add(how: str, first: np.ndarray, second: np.ndarray, i: int, j: int) -> None:
        head = pack.head((test.classes[i], test.classes[j]), np.stack([first, second]))
        right = [(head.logits(images[c]).argmax(1) == n).mean() for n, c in enumerate((i, j))]
        found.setdefault(how, []).append(100 * float(np.mean(right)))

    for i, j in combinations(range(len(test.classes)), 2):
        a, b = test.classes[i], test.classes[j]
        not_a, not_b = lacking(both, a, b), lacking(both, b, a)
        only_a, only_b = lacking(properties, a, b), lacking(properties, b, a)
        said_a, said_b = ([str(rng.choice(texts[c].descriptions[: texts[c].singles]))] for c in (a, b))
        add("a sentence each", vector(said_a, []), vector(said_b, []), i, j)
        if not_a and not_b:
            add("attributes each", vector(not_b, []), vector(not_a, []), i, j)
            add("negatives alone", vector([], not_a), vector([], not_b), i, j)
            add("a sentence and negatives each", vector(said_a, not_a), vector(said_b, not_b), i, j)
            add("mixed: attributes against negatives", vector(not_b, []), vector([], not_b), i, j)
            add("mixed: a sentence against negatives", vector(said_a, []), vector([], not_b), i, j)
        if only_a and only_b:
            add("negatives alone, no kinds", vector([], only_a), vector([], only_b), i, j)
    return {how: float(np.mean(values)) for how, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=Path, required=True, help="folder with strict-0 to strict-4")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--splits", default=",".join(SPLITS[:5]))
    args = parser.parse_args()
    results = [study(load_pack(args.packs / pack_name(s)), s, args.shared, args.cache) for s in args.splits.split(",")]
    print("| the two classes are given by | 2-way (chance 50 %) |\n|---|---|")
    for how in results[0]:
        values = np.array([r[how] for r in results])
        print(f"| {how} | {values.mean():.1f} ± {values.std(ddof=min(1, len(values) - 1)):.1f} |")


if __name__ == "__main__":
    main()
