"""T2M-HN as published (arXiv 2210.15182; PAPERS.md A.2, A.3) and per-class rows after Lei Ba et al. (ICCV 2015).

Plain logits with a bias, no text noise, one sentence a class. ``delta``: the released code's update. The generated
target is trained on by a few SGD steps; the difference is the gradient that the hypernetwork gets.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from t2m_edge.evaluation.methods.method import Method, Scores, Seen, drawn_sentences
from t2m_edge.hypernetworks.hypernetwork import HeadTensors, Hypernetwork, HypernetworkConfig

TASKS = 8
IMAGES = 6
INNER_STEPS = 3
INNER_RATE = 0.01


def fit(
    seen: Seen,
    seed: int = 0,
    steps: int = 1000,
    learning_rate: float = 1e-3,
    ways: int = 20,
    hidden: int = 0,
    mixing: bool = True,
    delta: bool = False,
) -> Scores:
    """Tasks of 2 to ``ways`` classes; width 120; ``hidden`` 120 is IVEV with its published sum, 0 is EV."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    config = HypernetworkConfig(
        inputs=seen.names.shape[1],
        features=seen.features.shape[1],
        width=120,
        hidden=hidden,
        mixing=mixing,
        cosine=False,
        reduction="sum",
    )
    model = Hypernetwork(config).train()
    if delta:
        optimiser = torch.optim.SGD(model.parameters(), learning_rate, momentum=0.9, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0)
    else:
        optimiser = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=1e-3, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    by_class = [np.flatnonzero(seen.labels == c) for c in range(len(seen.names))]
    for _ in range(steps):
        k = int(rng.integers(2, min(ways, len(by_class)) + 1))
        texts, images = [], []
        for _ in range(TASKS):
            classes = rng.permutation(len(by_class))[:k]
            texts.append(drawn_sentences(seen, classes, rng))
            images.append(seen.features[np.concatenate([rng.choice(by_class[c], IMAGES) for c in classes])])
        head = model(torch.from_numpy(np.stack(texts)))
        x, labels = torch.from_numpy(np.stack(images)), torch.arange(k).repeat_interleave(IMAGES)
        optimiser.zero_grad(set_to_none=True)
        if delta:
            push_towards_adapted(head, x, labels)
        else:
            F.cross_entropy(head.logits(x).flatten(0, 1), labels.repeat(TASKS)).backward()
        optimiser.step()
        schedule.step()
    model.eval()

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(texts.astype(np.float32))).logits(torch.from_numpy(features)).numpy()

    return scores


def push_towards_adapted(head: HeadTensors, x: Tensor, labels: Tensor) -> None:
    """Train copies of the generated weights by SGD, then send (generated - adapted) back as their gradient."""
    made = [t for t in (head.weight, head.bias, head.hidden_weight, head.hidden_bias) if t is not None]
    adapted = [t.detach().clone().requires_grad_() for t in made]
    optimiser = torch.optim.SGD(adapted, INNER_RATE, momentum=0.9, weight_decay=0.01)
    for _ in range(INNER_STEPS):
        logits = HeadTensors(*adapted).logits(x).flatten(0, 1)
        optimiser.zero_grad(set_to_none=True)
        (F.cross_entropy(logits, labels.repeat(len(x))) * len(x)).backward()
        optimiser.step()
    torch.autograd.backward(made, [m.detach() - a.detach() for m, a in zip(made, adapted, strict=True)])


GRID = {"steps": (500, 1000, 2000), "learning_rate": (3e-4, 1e-3, 3e-3), "ways": (2, 20, 60)}
DIRECT = {"steps": 1000, "learning_rate": 1e-3, "ways": 20}
SHARED = {"by_condition": False, "seeded": True}
METHOD = Method("T2M-HN (EV)", fit, GRID, DIRECT, **SHARED)
IVEV = Method("T2M-HN (IVEV)", partial(fit, hidden=120), {**GRID, "steps": (500,)}, {**DIRECT, "steps": 500}, **SHARED)
DELTA = Method(
    "T2M-HN (EV, delta update)",
    partial(fit, delta=True),
    {"steps": (1000, 3000), "learning_rate": (0.001, 0.005, 0.02), "ways": (2, 20)},
    {"steps": 3000, "learning_rate": 0.005, "ways": 20},
    **SHARED,
)
LEI_BA = Method("per-class rows (Lei Ba)", partial(fit, mixing=False), GRID, DIRECT, **SHARED)
