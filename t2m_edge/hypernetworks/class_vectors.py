"""Texts of a task -> the vectors that a hypernetwork reads: one row a class, its positive and its negative half."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

NAME_PROMPT = "a photo of a {}"
NAME_WEIGHT = 2
"""How many texts a class's name counts for beside its texts."""


@dataclass(frozen=True)
class Prompts:
    """How the names of classes become texts.

    templates: sentences with {} for the name, each with its weight in the mean of their embeddings.
    name_weight: how many texts the name counts for beside a class's texts.
    """

    templates: tuple[tuple[str, float], ...] = ((NAME_PROMPT, 1.0),)
    name_weight: float = NAME_WEIGHT


PROMPTS = Prompts()
"""What packs use that do not say."""


@dataclass(frozen=True)
class TextCentres:
    """Mean embeddings of the training texts, taken off before use (names and descriptions sit apart in the space).

    name, text: float32 (d_text,).
    """

    name: np.ndarray
    text: np.ndarray


def name_prompt(name: str, template: str = NAME_PROMPT) -> str:
    """The sentence that stands for a bare class name."""
    return template.replace("{}", name.replace("_", " ").replace("-", " "))


def text_centres(classes: Sequence[tuple[np.ndarray, Sequence[np.ndarray]]]) -> TextCentres:
    """Mean over all classes of the name embeddings, and of the classes' mean text embeddings.

    classes: for each data set the names, float32 (k, d_text), and the texts, k arrays float32 (m_i, d_text).
    """
    names = np.concatenate([n for n, _ in classes])
    texts = np.stack([t.mean(0) for _, ts in classes for t in ts])
    return TextCentres(names.mean(0).astype(np.float32), texts.mean(0).astype(np.float32))


def positive_halves(names: np.ndarray, texts: Sequence[np.ndarray], centres: TextCentres) -> np.ndarray:
    """The positive halves of ``class_vectors`` where each class has a name and texts: float32 (k, d_text).

    names: float32 (k, d_text); texts: k arrays float32 (m_i, d_text), m_i at least 1.
    """
    described = np.stack([t.mean(0) for t in texts])
    counts = np.array([[len(t)] for t in texts])
    return named_and_described(unit(names - centres.name), unit(described - centres.text), counts).astype(np.float32)


def named_and_described(
    named: np.ndarray, described: np.ndarray, count: int | np.ndarray, name_weight: float = NAME_WEIGHT
) -> np.ndarray:
    """Direction of a class given by its name and ``count`` texts: of their mean, the name counting as several.

    named, described: unit vectors float (..., d_text).
    """
    return unit(name_weight * named + count * described)


def class_vectors(
    encode: Callable[[Sequence[str]], np.ndarray],
    centres: TextCentres,
    names: Sequence[str],
    texts: Sequence[Sequence[str]],
    negatives: Sequence[Sequence[str]],
    prompts: Prompts = PROMPTS,
) -> np.ndarray:
    """One row a class: float32 (k, 2 * d_text), the positive half then the negative half, each of unit length or zero.

    The positive half is ``named_and_described``, the name alone where a class has no text, and zero where it has
    negative texts alone. ``encode`` maps n texts to float32 (n, d_text).
    """
    d, named_rows = len(centres.name), len(names) * len(prompts.templates)
    sentences = [name_prompt(n, template) for template, _ in prompts.templates for n in names]
    flat = [*sentences, *(t for ts in texts for t in ts), *(t for ts in negatives for t in ts)]
    rows = encode(flat)
    weights = np.array([weight for _, weight in prompts.templates], np.float32)
    ensemble = rows[:named_rows].reshape(len(weights), len(names), d) * weights[:, None, None] / weights.sum()
    named = unit(ensemble.sum(0) - centres.name)
    counts = np.array([len(group) for group in [*texts, *negatives]])
    described, against = np.split(unit(_group_means(rows[named_rows:] - centres.text, counts)), 2)
    own, other = np.split(counts[:, None], 2)
    both = named_and_described(named, described, own, prompts.name_weight)
    positive = np.where(own > 0, both, np.where(other > 0, 0, named))
    return np.concatenate([positive, against], 1).astype(np.float32)


def _group_means(rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means of rows that follow each other in groups of ``counts``: float (groups, d), zeros for an empty group."""
    means = np.zeros((len(counts), rows.shape[1]), rows.dtype)
    filled = counts > 0
    if filled.any():
        begins = (np.cumsum(counts) - counts)[filled]
        means[filled] = np.add.reduceat(rows, begins) / counts[filled, None]
    return means


def unit(x: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1 (a zero row stays zero)."""
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
