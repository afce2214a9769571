""" "None of these": one more class that wins where no other is sure enough.

Its row is zero and its bias a constant logit, so any reader's argmax rejects. The constant is set on the pack's feature
bank: of images outside the task, the asked share still gets a class's name. Images of classes named like one of the
task's are left out. Of the others those count that a user may meet: where the task's classes are alike (groceries), so
are the things beside them; where they are all kinds of things, so is the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from t2m_edge.hypernetworks.class_vectors import name_prompt, unit
from t2m_edge.packs import Pack
from t2m_runtime import Head, InputError, Layer
from t2m_runtime.manifest import NONE_LABEL

SAME = 0.8
"""Cosine of two names' embeddings from which a class of the bank counts as one of the task's (sofa and couch: 0.90)."""
AS_LIKE = 0.3
"""A class of the bank counts where it is this many times as like one of the task's as these are to each other."""
FEWEST_CLASSES = 12
FEWEST_IMAGES = 100


@dataclass(frozen=True)
class Rejection:
    """rate: asked share of outside images that still get a name; logit: under it an image is rejected.

    images, classes: how many of the bank it was set on.
    """

    rate: float
    logit: float
    images: int
    classes: int


def with_none(head: Head, rate: float, pack: Pack) -> tuple[Head, Rejection]:
    """The head with the class "none of these" behind its own.

    Raises:
        InputError: a rate not between 0 and 1, or a bank with too few images outside the task.
    """
    if not 0 < rate < 1:
        raise InputError(f"--reject is {rate}; give a share between 0 and 1, such as 0.05")
    outside = outside_classes(head.labels, pack)
    chosen = np.isin(pack.bank.labels, outside)
    if chosen.sum() < FEWEST_IMAGES:
        raise InputError(
            f"{pack.path}: only {chosen.sum()} images of the pack's bank are outside this task, too few to set "
            f"--reject on (it takes {FEWEST_IMAGES}); leave --reject out"
        )
    logits = head.logits(pack.bank.real[chosen])
    logit = float(np.quantile(logits.max(1), 1 - rate))
    last = head.layers[-1]
    more = Layer(np.vstack([last.weight, np.zeros_like(last.weight[:1])]), np.append(last.bias, np.float32(logit)))
    rejecting = replace(head, labels=(*head.labels, NONE_LABEL), layers=(*head.layers[:-1], more))
    return rejecting, Rejection(rate, logit, int(chosen.sum()), len(outside))


def outside_classes(labels: tuple[str, ...], pack: Pack) -> np.ndarray:
    """Numbers of the bank's classes that a threshold for these classes is set on, by their names: int64 (n,)."""
    prompts = [name_prompt(name) for name in (*pack.bank.classes, *labels)]
    vectors = unit(pack.text_encoder.encode(prompts) - pack.centres.name)
    held, own = np.split(vectors, [len(pack.bank.classes)])
    likeness = (held @ own.T).max(1)
    among = own @ own.T - 2 * np.eye(len(own))
    other = np.flatnonzero(likeness < SAME)
    order = other[np.argsort(-likeness[other], kind="stable")]
    count = int((likeness[order] >= AS_LIKE * among.max(1).mean()).sum())
    return np.sort(order[: max(count, FEWEST_CLASSES)])
