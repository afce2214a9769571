"""Negative texts: ``python -m t2m_edge.evaluation.negation --packs DIR --shared DIR --cache DIR``.

Two-way tasks of all pairs of a split's unseen CIFAR-100 classes. A negative text of class a against b is "something
that is X" behind ``not:``, for up to four attributes X that b has and a lacks, from a hand-made table
(``cifar100_attributes.json``: 19 kinds, 32 properties). Class names are left out, so that the texts alone decide.

Of strict packs no attribute and no negative text had a part in training. With ``--backbone`` a kernel ridge on a frozen
backbone's features takes their place, which learns the attributes of the seen classes, too; with ``--held-out`` only
half of them, and the tasks are made of the other half.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import resources
from itertools import combinations
from pathlib import Path

import numpy as np

from t2m_edge.compiler.negatives_alone import with_lead
from t2m_edge.evaluation.commands import Parser, command, folder, own_folder, some_of
from t2m_edge.evaluation.frozen_features import BACKBONES
from t2m_edge.evaluation.methods.kernel_prototypes import kernel_rows
from t2m_edge.evaluation.methods.method import Seen
from t2m_edge.evaluation.pack_features import cached_features, need_packs, pack_name
from t2m_edge.evaluation.protocol import POOLED, dataset_embeddings, frozen_problem
from t2m_edge.evaluation.report import means
from t2m_edge.evaluation.sources import load_encoder, need_data
from t2m_edge.hypernetworks.class_vectors import TextCentres, unit
from t2m_edge.packs import Pack, load_pack
from t2m_edge.text import TextEncoder
from t2m_edge.training.datasets import load_images
from t2m_edge.training.splits import SPLITS, class_split
from t2m_edge.training.texts import class_texts
from t2m_runtime import Head, Layer

MOST = 4
Attributes = dict[str, set[str]]
"""{class: its attributes}"""
Rows = Callable[[np.ndarray], np.ndarray]
"""Class vectors float32 (k, 2 d_text) -> rows of a head (k, d)."""


@dataclass(frozen=True)
class Subject:
    """What is tested on a split.

    images: float32 (n, d) of each unseen class, by name; bank: float32 (n, d) of other images, for the lead of
    classes given by negative texts alone; centre: float32 (d_text,), taken off the texts' embeddings; known: texts
    that need no encoding any more.
    """

    images: dict[str, np.ndarray]
    bank: np.ndarray
    encoder: TextEncoder
    centre: np.ndarray
    rows: Rows
    known: dict[str, np.ndarray] = field(default_factory=dict)


def attributes() -> tuple[Attributes, Attributes]:
    """Kinds and properties together, and properties alone."""
    table = json.loads(resources.files("t2m_edge.evaluation").joinpath("cifar100_attributes.json").read_text("utf-8"))
    both: Attributes = {}
    properties: Attributes = {}
    for group, found in ((both, "kinds"), (both, "properties"), (properties, "properties")):
        for attribute, classes in table[found].items():
            for c in classes:
                group.setdefault(c, set()).add(attribute)
    return both, properties


def only(has: Attributes, wanted: set[str]) -> Attributes:
    """These attributes alone."""
    return {c: found & wanted for c, found in has.items()}


def says(attribute: str) -> str:
    """An attribute as a text."""
    return f"something that is {attribute}"


def pack_subject(pack: Pack, split: str, shared: Path, cache: Path) -> Subject:
    """The hypernetwork of a strict pack on its own features."""
    test = load_images(shared, cache, "cifar100", "test").only(class_split(shared, split).unseen["cifar100"])
    features = cached_features(pack, test, f"test{split}", cache).real
    images = {c: features[test.labels == i] for i, c in enumerate(test.classes)}

    def rows(z: np.ndarray) -> np.ndarray:
        return pack.head(tuple(str(i) for i in range(len(z))), z).layers[-1].weight

    return Subject(images, pack.bank.real, pack.text_encoder, pack.centres.text, rows)


def frozen_subject(
    backbone: str, encoder: TextEncoder, split: str, learned: Attributes, shared: Path, cache: Path
) -> Subject:
    """Kernel ridge, pooled, on a frozen backbone's features, from the seen classes' texts and attributes."""
    texts = dataset_embeddings(encoder, "cifar100", shared, cache)
    more = dataset_embeddings(encoder, POOLED["cifar100"][0], shared, cache)
    problem = frozen_problem(backbone, "cifar100", split, texts, shared, cache, more)
    seen, unseen = problem.seen, class_split(shared, split).unseen["cifar100"]
    if any(learned.values()):
        seen = replace(seen, others=(attribute_set(seen, learned, encoder), *seen.others))
    map_ = kernel_rows(seen, others=1.0)
    nothing = map_(np.zeros((1, encoder.d_text), np.float32))

    def rows(z: np.ndarray) -> np.ndarray:
        positive, negative = np.split(z, 2, axis=1)
        return unit(map_(positive) - nothing - (map_(negative) - nothing) / 2).astype(np.float32)

    images = {c: problem.unseen.features[problem.unseen.labels == i] for i, c in enumerate(unseen)}
    said = class_texts(shared)["cifar100"]
    known = {t: row for c in unseen for t, row in zip(said[c].descriptions, texts.sentences[c], strict=True)}
    return Subject(images, seen.features, encoder, seen.centres.text, rows, known)


def attribute_set(seen: Seen, learned: Attributes, encoder: TextEncoder) -> Seen:
    """Each attribute as a class of its own, with the images of the seen classes that have it."""
    names = sorted(set().union(*learned.values()))
    having = {a: [i for i, c in enumerate(seen.classes) if a in learned.get(c, ())] for a in names}
    having = {a: classes for a, classes in having.items() if len(classes) > 1}
    rows = [np.flatnonzero(np.isin(seen.labels, classes)) for classes in having.values()]
    texts = encoder.encode([says(a) for a in having])
    return Seen(
        seen.features[np.concatenate(rows)],
        np.repeat(np.arange(len(rows)), [len(r) for r in rows]),
        texts,
        tuple(texts[:, None]),
        TextCentres(seen.centres.text, seen.centres.text),
        dataset="attributes",
    )


def study(subject: Subject, both: Attributes, properties: Attributes, shared: Path) -> dict[str, float]:
    """{how the two classes are given: mean two-way accuracy in percent over all pairs that have such texts}."""
    texts, rng = class_texts(shared)["cifar100"], np.random.default_rng(0)
    known = {text: row - subject.centre for text, row in subject.known.items()}
    found: dict[str, list[float]] = {}

    def half(given: Sequence[str]) -> np.ndarray:
        new = [t for t in given if t not in known]
        if new:
            known.update(zip(new, subject.encoder.encode(new) - subject.centre))
        return unit(np.mean([known[t] for t in given], 0)) if given else np.zeros_like(subject.centre)

    def vector(positive: Sequence[str], negative: Sequence[str]) -> np.ndarray:
        return np.concatenate([half(positive), half(negative)])

    def lacking(has: Attributes, a: str, b: str) -> list[str]:
        """Up to four things that b is and a is not."""
        differ = sorted(has.get(b, set()) - has.get(a, set()))
        return [says(x) for x in rng.permutation(differ)[:MOST]]

    def add(how: str, pair: tuple[str, str], *vectors: np.ndarray) -> None:
        z = np.stack(vectors).astype(np.float32)
        alone = ~z[:, : z.shape[1] // 2].any(1)
        head = with_lead(Head(pair, (Layer(subject.rows(z), np.zeros(2, np.float32)),)), alone, subject.bank)
        right = [(head.logits(subject.images[c]).argmax(1) == n).mean() for n, c in enumerate(pair)]
        found.setdefault(how, []).append(100 * float(np.mean(right)))

    half([says(x) for x in sorted(set().union(*both.values()))])
    for pair in combinations(subject.images, 2):
        a, b = pair
        not_a, not_b = lacking(both, a, b), lacking(both, b, a)
        only_a, only_b = lacking(properties, a, b), lacking(properties, b, a)
        said_a, said_b = ([str(rng.choice(texts[c].descriptions[: texts[c].singles]))] for c in pair)
        add("a sentence each", pair, vector(said_a, []), vector(said_b, []))
        if not_a and not_b:
            add("attributes each", pair, vector(not_b, []), vector(not_a, []))
            add("negatives alone", pair, vector([], not_a), vector([], not_b))
            add("a sentence and negatives each", pair, vector(said_a, not_a), vector(said_b, not_b))
            add("mixed: attributes against negatives", pair, vector(not_b, []), vector([], not_b))
            add("mixed: a sentence against negatives", pair, vector(said_a, []), vector([], not_b))
        if only_a and only_b:
            add("negatives alone, no kinds", pair, vector([], only_a), vector([], only_b))
    return {how: float(np.mean(values)) for how, values in found.items()}


def pack_study(packs: Path, split: str, shared: Path, cache: Path) -> dict[str, float]:
    """Of a split's strict pack."""
    return study(pack_subject(load_pack(packs / pack_name(split)), split, shared, cache), *attributes(), shared)


def frozen_study(args: argparse.Namespace, split: str, shared: Path, cache: Path) -> dict[str, float]:
    """Of a frozen backbone: with all attributes learned and tested, or each half tested by what learned the other."""
    encoder, (both, properties) = load_encoder(args.encoder), attributes()
    every = set().union(*both.values())
    found = []
    for tested in halves(split) if args.held_out else [every]:
        learned = only(both, every - tested) if args.held_out else both
        subject = frozen_subject(args.backbone, encoder, split, learned, shared, cache)
        found.append(study(subject, only(both, tested), only(properties, tested), shared))
    return {how: float(np.mean([f[how] for f in found])) for how in found[0]}


def halves(split: str) -> list[set[str]]:
    """The attributes in two halves, drawn for a split."""
    both, _ = attributes()
    names = sorted(set().union(*both.values()))
    order = np.random.default_rng(SPLITS.index(split)).permutation(len(names))
    return [{names[i] for i in part} for part in np.array_split(order, 2)]


@command
def main() -> None:
    parser = Parser("negation", __doc__)
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--packs", type=folder, help="folder with strict-0 to strict-4")
    subject.add_argument("--backbone", choices=sorted(BACKBONES), help="a frozen one; takes --encoder")
    parser.add_argument("--encoder", type=folder, help="folder of a text encoder, for --backbone")
    parser.add_argument("--held-out", action="store_true", help="with --backbone: tasks of attributes not learned")
    parser.add_argument("--shared", type=folder, required=True, help="the folder that holds data/")
    parser.add_argument("--cache", type=own_folder, required=True, help="where features are kept")
    parser.add_argument("--splits", type=some_of(SPLITS), default=",".join(SPLITS[:5]))
    args = parser.parse_args()
    if args.backbone and not args.encoder:
        parser.error("--backbone takes --encoder DIR")
    need_data(args.shared, ["cifar100"], [args.backbone] if args.backbone else [])
    if args.packs:
        need_packs(args.packs, args.splits)
    make = partial(pack_study, args.packs) if args.packs else partial(frozen_study, args)
    results = [make(split, args.shared, args.cache) for split in args.splits]
    print("| the two classes are given by | 2-way (chance 50 %) |\n|---|---|")
    for how in results[0]:
        print(f"| {how} | {means(np.array([[r[how]] for r in results]))[0]} |")


if __name__ == "__main__":
    main()
