"""DEM: a network maps text vectors to image features; the nearest decides (Zhang et al., CVPR 2017, eq. 2)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from t2m_edge.evaluation.methods.method import Method, Scores, Seen, drawn_texts


def fit(
    seen: Seen, seed: int = 0, hidden: int = 512, steps: int = 1500, learning_rate: float = 1e-3, decay: float = 1e-2
) -> Scores:
    """Squared distance of a class's mapped text to its images; two layers, ReLU after each hidden one."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(seen.names.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, seen.features.shape[1]))
    optimiser = torch.optim.AdamW(model.parameters(), learning_rate, weight_decay=decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    features, labels = torch.from_numpy(seen.features), torch.from_numpy(seen.labels)
    for _ in range(steps):
        rows = torch.from_numpy(rng.integers(0, len(labels), 256))
        mapped = model(torch.from_numpy(drawn_texts(seen, rng)))
        loss = F.mse_loss(mapped[labels[rows]], features[rows], reduction="sum") / len(rows)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            mapped = model(torch.from_numpy(texts)).numpy()
        return features @ mapped.T - (mapped**2).sum(1) / 2

    return scores


METHOD = Method(
    "DEM",
    fit,
    {"hidden": (256, 512), "steps": (500, 1500), "learning_rate": (3e-4, 1e-3), "decay": (1e-3, 1e-2, 1e-1)},
    {"hidden": 512, "steps": 1500, "learning_rate": 1e-3, "decay": 1e-2},
    by_condition=False,
    seeded=True,
)
