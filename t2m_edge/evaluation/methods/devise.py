"""DeViSE: a linear map from images to text vectors by a hinge rank loss (Frome et al., NeurIPS 2013, eq. 1)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from t2m_edge.evaluation.methods.method import Method, Scores, Seen, drawn_texts


def fit(seen: Seen, seed: int = 0, margin: float = 0.1, steps: int = 1500, learning_rate: float = 1e-3) -> Scores:
    """Every step draws 256 images and one mean of some texts for each class; all other classes push."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = nn.Linear(seen.features.shape[1], seen.names.shape[1], bias=False)
    optimiser = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    features, labels = torch.from_numpy(seen.features), torch.from_numpy(seen.labels)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(0, len(labels), 256))
        similar = F.normalize(model(features[rows]), dim=1) @ torch.from_numpy(drawn_texts(seen, rng)).T
        own = similar.gather(1, labels[rows, None])
        loss = F.relu(margin - own + similar).scatter(1, labels[rows, None], 0).sum(1).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return F.normalize(model(torch.from_numpy(features)), dim=1).numpy() @ texts.T

    return scores


METHOD = Method(
    "DeViSE",
    fit,
    {"margin": (0.05, 0.1, 0.3), "steps": (500, 1500), "learning_rate": (3e-4, 1e-3, 3e-3)},
    {"margin": 0.1, "steps": 1500, "learning_rate": 1e-3},
    by_condition=False,
    seeded=True,
)
