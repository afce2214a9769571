"""What every method of the study is: it learns from images and texts of seen classes and scores images for texts."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from t2m_edge.hypernetworks.class_vectors import TextCentres, positive_halves, unit
from t2m_edge.training.closed_form import balance, inverse_of_shrunk, prototypes
from t2m_edge.training.splits import matching_groups

Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(features float32 (n, d), texts float32 (k, d_text)) -> logits (n, k)."""

CONDITIONS = ("name", "sentence", "descriptions")
DRAWN_COUNTS = (1, 2, 4, 16)


@dataclass(frozen=True)
class Seen:
    """Images and texts of the seen classes of one data set.

    features: float32 (n, d), unit rows; labels: int64 (n,) into the k classes.
    names: float32 (k, d_text), embeddings of the names; sentences: k arrays float32 (m_i, d_text), m_i at least 1.
    centres: what is taken off an embedding of a name or of a sentence before use.
    condition: how the tested classes will be given, one of CONDITIONS or "both"; ``texts`` follows it.
    dataset, classes: the data set and the k classes by name.
    others: seen classes of other data sets on the same backbone, each with centres of its own; most methods leave them.

    What the closed forms need of the images (``prototypes``, ``mean``, the Gram matrices) is kept once computed, so
    that trying many settings on the same classes costs little.
    """

    features: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    sentences: tuple[np.ndarray, ...]
    centres: TextCentres
    condition: str = "descriptions"
    dataset: str = ""
    classes: tuple[str, ...] = ()
    others: tuple[Seen, ...] = ()

    @property
    def texts(self) -> np.ndarray:
        """One unit vector a class, as the tested classes will have it: float32 (k, d_text).

        Where the tested classes have a single sentence, the mean of a seen class's sentences is its best estimate.
        """
        return self.text_of(self.condition)

    def text_of(self, condition: str) -> np.ndarray:
        """``texts`` under another condition."""
        if condition in ("sentence", "descriptions"):
            return unit(self.sentence_means - self.centres.text)
        return text_vectors(self.names, self.sentences, self.centres, condition)

    @cached_property
    def single_sentences(self) -> tuple[np.ndarray, np.ndarray]:
        """All sentences one by one, unit vectors float32 (m, d_text), and the class number of each, int64 (m,)."""
        owner = np.repeat(np.arange(len(self.sentences)), [len(s) for s in self.sentences])
        return unit(np.concatenate(self.sentences) - self.centres.text), owner

    @cached_property
    def sentence_means(self) -> np.ndarray:
        """Mean embedding of each class's sentences, nothing taken off: float32 (k, d_text)."""
        return np.stack([s.mean(0) for s in self.sentences])

    @cached_property
    def sentence_regression(self) -> tuple[np.ndarray, np.ndarray]:
        """Gram matrix float64 (d_text, d_text) of all single sentences and names, every class of the same total weight,
        and their products float64 (d_text, d) with the centred prototypes."""
        sentences, owner = self.single_sentences
        inputs = np.concatenate([sentences, self.text_of("name")])
        owner = np.concatenate([owner, np.arange(len(self.names))])
        weighted = inputs * balance(owner)
        centred = self.prototypes - self.prototypes.mean(0)
        return weighted.T @ weighted, weighted.T @ (centred[owner] * balance(owner))

    @cached_property
    def prototypes(self) -> np.ndarray:
        """Mean feature of each class: float32 (k, d)."""
        return prototypes(self.features, self.labels)

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean feature of all images: float32 (d,)."""
        return self.features.mean(0)

    @cached_property
    def gram(self) -> np.ndarray:
        """X'X of the images' features minus their mean: float64 (d, d)."""
        x = (self.features - self.mean).astype(np.float64)
        return x.T @ x

    @cached_property
    def balanced_gram(self) -> np.ndarray:
        """``gram`` with every class of the same total weight 1: float64 (d, d)."""
        x = (self.features - self.mean) * balance(self.labels)
        return x.T @ x

    @cached_property
    def within(self) -> np.ndarray:
        """Covariance within the classes: float32 (d, d)."""
        x = self.features - self.prototypes[self.labels]
        return x.T @ x / len(x)

    @cached_property
    def between(self) -> np.ndarray:
        """Covariance of the prototypes: float32 (d, d)."""
        p = self.prototypes - self.prototypes.mean(0)
        return p.T @ p / len(p)

    def inverse_covariance(self, shrinkage: float, between: float = 0.0) -> np.ndarray:
        """Inverse of ``within`` plus a share of ``between``, shrunk to a multiple of the identity: float64 (d, d)."""
        return inverse_of_shrunk(self.within + between * self.between, shrinkage)

    @cached_property
    def _kept(self) -> dict[Hashable, Any]:
        return {}

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` gave when this was first asked for: for what several settings of a method have in common."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def only(self, classes: np.ndarray) -> Seen:
        """These classes alone, labels renumbered; of the others those that match none of the classes left out."""
        number = np.full(len(self.names), -1)
        number[classes] = np.arange(len(classes))
        keep = number[self.labels] >= 0
        left_out = {c for i, c in enumerate(self.classes) if number[i] < 0}
        return replace(
            self,
            features=self.features[keep],
            labels=number[self.labels[keep]],
            names=self.names[classes],
            sentences=tuple(self.sentences[c] for c in classes),
            classes=tuple(self.classes[c] for c in classes) if self.classes else (),
            others=tuple(other.without_matches(self.dataset, left_out) for other in self.others),
        )

    def without_matches(self, dataset: str, names: set[str]) -> Seen:
        """The classes that show nothing that these of another data set show (training/class_matches.json)."""
        groups = [g for g in matching_groups() if names & set(g.get(dataset, ()))]
        matching = {c for g in groups for c in g.get(self.dataset, ())}
        return self.only(np.array([i for i, c in enumerate(self.classes) if c not in matching]))


def text_vectors(
    names: np.ndarray, sentences: tuple[np.ndarray, ...], centres: TextCentres, condition: str
) -> np.ndarray:
    """Class vectors under a condition, float32 (k, d_text), unit rows; "both": as compile makes them."""
    if condition == "name":
        return unit(names - centres.name)
    if condition == "both":
        return positive_halves(names, sentences, centres)
    return unit(np.stack([s.mean(0) for s in sentences]) - centres.text)


def drawn_texts(seen: Seen, rng: np.random.Generator) -> np.ndarray:
    """A vector for each class: its name (a quarter of the draws), or the mean of some or all sentences. float32 (k, d).

    Some: 1, 2, 4 or 16 of them, drawn with replacement.
    """
    k = len(seen.names)
    named, picks = rng.random(k) < 0.25, rng.integers(0, len(DRAWN_COUNTS) + 1, k)
    rows = np.where(named[:, None], seen.names - seen.centres.name, seen.sentence_means - seen.centres.text)
    for c in np.flatnonzero(~named & (picks < len(DRAWN_COUNTS))):
        sentences = seen.sentences[c]
        if DRAWN_COUNTS[picks[c]] < len(sentences):
            rows[c] = sentences[rng.integers(0, len(sentences), DRAWN_COUNTS[picks[c]])].mean(0) - seen.centres.text
    return unit(rows).astype(np.float32)


def drawn_sentences(seen: Seen, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One sentence for each of these classes: float32 (len(classes), d_text)."""
    rows = [seen.sentences[c][rng.integers(len(seen.sentences[c]))] for c in classes]
    return unit(np.stack(rows) - seen.centres.text).astype(np.float32)


@dataclass(frozen=True)
class Method:
    """One method of the study.

    fit: (seen, seed, **settings) -> Scores. grid: the values that tuning tries for each setting. settings: the
    committed ones. by_condition: fitted anew for each text condition; otherwise once for all of them.
    """

    name: str
    fit: Callable[..., Scores]
    grid: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    by_condition: bool = True
    seeded: bool = False
