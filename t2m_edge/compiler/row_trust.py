"""How far rows that were made from names can be trusted: old rows found again when left out, and rows alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2m_edge.compiler.text_to_rows import Directions
from t2m_edge.hypernetworks.class_vectors import unit

RIVALS = 24
ALIKE = 0.95
"""Cosine of two rows, the mean of the old ones taken off, from which on images hardly tell the classes apart."""
NAMED = 3


@dataclass(frozen=True)
class Trust:
    """What is known of new rows.

    cosine: of left-out rows to the true ones, mean; right: share of left-out rows nearer to their own true row than to
    those of ``rivals`` other classes; classes: how many were left out.
    alike: (new class, other class, cosine of their rows) of each new class, the riskiest first.
    """

    cosine: float
    right: float
    rivals: int
    classes: int
    alike: tuple[tuple[str, str, float], ...]

    def warnings(self) -> list[str]:
        """Where the rows are of no use: left-out rows found as by chance, or a new row that is another's."""
        found = []
        chance = 1 / (self.rivals + 1)
        spread = (chance * (1 - chance) / self.classes) ** 0.5
        if self.cosine <= 0 or self.right <= chance + spread:
            found.append(
                f"of old classes left out, {self.right:.0%} are found again, where chance finds {chance:.0%}: the "
                "names say nothing of this model's rows, and the new classes are of no use"
            )
        pairs = [pair for pair in self.alike if pair[2] > ALIKE]
        if pairs:
            listed = ", ".join(f"{new} like {other} ({cosine:.2f})" for new, other, cosine in pairs[:NAMED])
            more = f" and {len(pairs) - NAMED:,} more" if len(pairs) > NAMED else ""
            found.append(
                f"new rows are practically those of other classes: {listed}{more}; the model cannot tell them apart: "
                "say what differs, or leave them out"
            )
        return found


def row_trust(
    directions: Directions,
    known: np.ndarray,
    weight: np.ndarray,
    added: np.ndarray,
    names: Sequence[str],
    new: Sequence[str],
) -> Trust:
    """Trust in rows.

    Args:
        known: the old rows from which the directions were learnt, float64 (m, d).
        weight: all old rows, float64 (k, d); names: theirs, k.
        added: the new ones, float64 (n, d); new: their names, n.
    """
    right, rivals = _right(directions, unit(known - known.mean(0)))
    return Trust(directions.cosine, right, rivals, len(known), _alike(weight, added, names, new))


def _right(directions: Directions, true: np.ndarray) -> tuple[float, int]:
    rng = np.random.default_rng(0)
    rivals = min(RIVALS, len(true) - 1)
    hits = []
    for i in range(len(true)):
        others = rng.choice(len(true) - 1, rivals, replace=False)
        others += others >= i
        score = directions.left_out[[i, *others], :-1] @ true[i]
        hits.append(score[0] > score[1:].max())
    return float(np.mean(hits)), rivals


def _alike(
    weight: np.ndarray, added: np.ndarray, names: Sequence[str], new: Sequence[str]
) -> tuple[tuple[str, str, float], ...]:
    """Each new class and the one whose row is most like its own; of two new ones, the pair once."""
    everything = unit(np.concatenate([weight, added]) - weight.mean(0))
    labels = [*names, *new]
    cosine = everything[len(weight) :] @ everything.T
    pairs = []
    for i in range(len(new)):
        cosine[i, len(weight) : len(weight) + i + 1] = -1
        other = int(cosine[i].argmax())
        pairs.append((new[i], labels[other], float(cosine[i, other])))
    return tuple(sorted(pairs, key=lambda pair: -pair[2]))
