"""The study's protocol: one problem a split, conditions of the tested texts, tuning on pseudo-unseen classes."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from t2m_edge.evaluation.frozen_features import TRAIN_IMAGES, pooled_features, transformed
from t2m_edge.evaluation.kept import keep
from t2m_edge.evaluation.methods.method import CONDITIONS, Method, Scores, Seen, text_vectors
from t2m_edge.evaluation.metrics import drawn_tasks_accuracy, per_class_accuracy
from t2m_edge.hypernetworks.class_vectors import name_prompt, text_centres, unit
from t2m_edge.text import TextEncoder
from t2m_edge.training.splits import EVALUATED, class_split
from t2m_edge.training.texts import class_texts

DRAWS = 3
POOLED = {"cifar100": ("tiny_imagenet", 32), "tiny_imagenet": ("cifar100", None), "grocery": ("tiny_imagenet", None)}
"""The data set whose seen classes may help another's, and the side that its images are shrunk to."""
POOLED_IMAGES = 50
INNER_SPLITS = 4


@dataclass(frozen=True)
class Unseen:
    """Test images and texts of classes that were not learned from; the fields are those of ``Seen``.

    singles: for each class, how many of its sentences, from the first, a single one is drawn from; None: all.
    """

    features: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    sentences: tuple[np.ndarray, ...]
    singles: tuple[int | None, ...] | None = None


@dataclass(frozen=True)
class Problem:
    """One split of one data set. ``number`` seeds what is drawn for it.

    seen_test: features float32 (n, d) and labels (n,) of test images of the seen classes, for the generalised setting.
    """

    name: str
    number: int
    seen: Seen
    unseen: Unseen
    seen_test: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class ClassEmbeddings:
    """A data set's classes by name: the embedding of the name, float32 (d_text,), and of its sentences (m, d_text).

    singles: how many of the sentences a single one is drawn from; None: all.
    """

    name: dict[str, np.ndarray]
    sentences: dict[str, np.ndarray]
    singles: dict[str, int | None]

    def of(self, classes: tuple[str, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """names float32 (k, d_text) and k arrays of sentences, in this order."""
        return np.stack([self.name[c] for c in classes]), tuple(self.sentences[c] for c in classes)

    def unseen(self, features: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> Unseen:
        """These classes as tested ones."""
        return Unseen(features, labels, *self.of(classes), tuple(self.singles[c] for c in classes))


def dataset_embeddings(encoder: TextEncoder, dataset: str, shared: Path, cache: Path) -> ClassEmbeddings:
    """Embeddings of all classes of a data set, kept in ``cache`` under the encoder's id."""
    texts = class_texts(shared)[dataset]
    path = cache / f"{dataset}-texts-{hashlib.sha256(encoder.id.encode()).hexdigest()[:16]}.npz"
    if not path.exists():
        print(f"{encoder.id}: texts of {dataset}", file=sys.stderr, flush=True)
        names = encoder.encode([name_prompt(t.name) for t in texts.values()])
        sentences = encoder.encode([line for t in texts.values() for line in t.descriptions])
        keep(path, names=names, sentences=sentences)
    with np.load(path) as table:
        ends = np.cumsum([len(t.descriptions) for t in texts.values()])[:-1]
        name = dict(zip(texts, table["names"], strict=True))
        sentences = dict(zip(texts, np.split(table["sentences"], ends), strict=True))
        return ClassEmbeddings(name, sentences, {c: t.singles for c, t in texts.items()})


def frozen_problem(
    backbone: str,
    dataset: str,
    split_name: str,
    found: ClassEmbeddings,
    shared: Path,
    cache: Path,
    pooled: ClassEmbeddings | None = None,
) -> Problem:
    """A problem on the features of a frozen backbone: all test images of the unseen classes.

    ``pooled``: embeddings of the data set whose seen classes methods may learn from, too (see POOLED).
    """
    unseen = class_split(shared, split_name).unseen[dataset]
    seen = tuple(c for c in sorted(found.name) if c not in set(unseen))
    train = pooled_features(backbone, dataset, "train", shared, cache, TRAIN_IMAGES).only(seen)
    test = pooled_features(backbone, dataset, "test", shared, cache)
    of_unseen, of_seen = test.only(unseen), test.only(seen)
    x, y, seen_test = transformed(train.pooled, of_unseen.pooled, of_seen.pooled)
    known = found.of(seen)
    others: tuple[Seen, ...] = ()
    if pooled is not None:
        more, side = POOLED[dataset]
        images = pooled_features(backbone, more, "train", shared, cache, POOLED_IMAGES, side)
        features = transformed(train.pooled, images.pooled)[1]
        texts = pooled.of(images.classes)
        other = Seen(features, images.labels, *texts, text_centres([texts]), dataset=more, classes=images.classes)
        others = (other.without_matches(dataset, set(unseen)),)
    return Problem(
        f"{dataset} {split_name}",
        EVALUATED.index(split_name),
        Seen(x, train.labels, *known, text_centres([known]), dataset=dataset, classes=seen, others=others),
        found.unseen(y, of_unseen.labels, unseen),
        (seen_test, of_seen.labels),
    )


def unseen_texts(problem: Problem, condition: str) -> list[np.ndarray]:
    """Draws of the unseen classes' vectors float32 (k, d_text); one draw but for "sentence", which has three."""
    unseen, centres = problem.unseen, problem.seen.centres
    if condition != "sentence":
        return [text_vectors(unseen.names, unseen.sentences, centres, condition).astype(np.float32)]
    rng = np.random.default_rng(problem.number)
    counts = unseen.singles or (None,) * len(unseen.sentences)
    return [
        unit(np.stack([s[rng.integers(n or len(s))] for s, n in zip(unseen.sentences, counts)]) - centres.text).astype(
            np.float32
        )
        for _ in range(DRAWS)
    ]


def accuracies(scores: Scores, problem: Problem, condition: str) -> list[float]:
    """Mean per-class top-1 in percent over all unseen classes, over 200 drawn 5-way tasks, over all pairs."""
    draws = []
    for texts in unseen_texts(problem, condition):
        logits, labels = scores(problem.unseen.features, texts), problem.unseen.labels
        ways = (per_class_accuracy(logits, labels), *(drawn_tasks_accuracy(logits, labels, w) for w in (5, 2)))
        draws.append([100 * w for w in ways])
    return np.mean(draws, 0).tolist()


def inner_problems(problem: Problem, count: int = INNER_SPLITS) -> list[Problem]:
    """Problems inside the seen classes: a quarter of them, drawn ``count`` times, plays the unseen ones."""
    rng = np.random.default_rng(problem.number)
    seen, out = problem.seen, []
    for _ in range(count):
        held = np.sort(rng.permutation(len(seen.names))[: len(seen.names) // 4])
        part = seen.only(held)
        rest = seen.only(np.setdiff1d(np.arange(len(seen.names)), held))
        unseen = Unseen(part.features, part.labels, part.names, part.sentences)
        out.append(Problem(f"inside {problem.name}", problem.number, rest, unseen))
    return out


def tuned(method: Method, problems: list[Problem], condition: str, seed: int = 0) -> dict[str, Any]:
    """The settings of the method's grid with the best mean accuracy over the problems' unseen classes."""
    grid = [dict(zip(method.grid, values)) for values in product(*method.grid.values())]
    found = np.zeros(len(grid))
    for problem in problems:
        seen, texts = replace(problem.seen, condition=condition), unseen_texts(problem, condition)
        for i, settings in enumerate(grid):
            found[i] += mean_accuracy(method.fit(seen, seed, **settings), problem, texts)
    return grid[int(found.argmax())]


def mean_accuracy(scores: Scores, problem: Problem, draws: list[np.ndarray]) -> float:
    """Mean per-class top-1 in percent over all unseen classes, and over draws of their texts."""
    unseen = problem.unseen
    return 100 * float(np.mean([per_class_accuracy(scores(unseen.features, t), unseen.labels) for t in draws]))


@dataclass(frozen=True)
class Outcome:
    """accuracy: {condition: ``accuracies``}; settings: those that each condition's fit had."""

    accuracy: dict[str, list[float]]
    settings: dict[str, dict[str, Any]]


def study(method: Method, problem: Problem, settings: dict[str, Any] | None, seed: int) -> Outcome:
    """One method on one problem. Without ``settings``, a method in closed form is tuned inside the problem."""
    accuracy: dict[str, list[float]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    inner = inner_problems(problem) if settings is None else []
    fitted: Scores | None = None
    for condition in CONDITIONS:
        if fitted is None or method.by_condition:
            found = settings if settings is not None else tuned(method, inner, condition)
            fitted = method.fit(replace(problem.seen, condition=condition), seed, **found)
        chosen[condition] = found
        accuracy[condition] = accuracies(fitted, problem, condition)
    return Outcome(accuracy, chosen)
