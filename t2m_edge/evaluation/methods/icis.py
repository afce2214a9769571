"""ICIS: two autoencoders, of text vectors and of classifier rows, whose decoders are crossed (ICCV 2023).

Loss: 1 - cosine of text -> row, row -> row, row -> text over the seen classes and of text -> text (PAPERS.md B.2, B.3).
The rows are those of a classifier of the seen classes: this method needs its weights alone, and no image.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2m_edge.evaluation.methods.method import Method, Scores, Seen, drawn_texts
from t2m_edge.evaluation.methods.ridge_rows import classifier_rows


class CrossedAutoencoders(nn.Module):
    """Encoders Linear + ReLU, decoders Linear, one latent width for both sides."""

    def __init__(self, d_text: int, d_row: int, latent: int) -> None:
        super().__init__()
        self.encode_text, self.encode_row = nn.Linear(d_text, latent), nn.Linear(d_row, latent)
        self.decode_text, self.decode_row = nn.Linear(latent, d_text), nn.Linear(latent, d_row)

    def forward(self, texts: Tensor) -> Tensor:
        """Text vectors (k, d_text) -> rows (k, d_row)."""
        return self.decode_row(F.relu(self.encode_text(texts)))

    def loss(self, texts: Tensor, clean: Tensor, rows: Tensor) -> Tensor:
        """Sum of the four losses; ``texts`` go in (perhaps with noise), ``clean`` ones are to come out."""
        from_text, from_row = F.relu(self.encode_text(texts)), F.relu(self.encode_row(rows))
        pairs = (
            (self.decode_row(from_text), rows),
            (self.decode_row(from_row), rows),
            (self.decode_text(from_row), clean),
            (self.decode_text(from_text), clean),
        )
        return sum((1 - F.cosine_similarity(found, wanted, dim=1)).mean() for found, wanted in pairs)


def fit(
    seen: Seen,
    seed: int = 0,
    latent: int = 2048,
    epochs: int = 120,
    learning_rate: float = 1e-5,
    noise: float = 0.0,
    image_strength: float = 1.0,
) -> Scores:
    """As published with ``noise`` 0; with noise, text vectors get Gaussian noise of that length (PROTOTYPE.md 1c)."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    rows, mean = classifier_rows(seen, image_strength)
    wanted = F.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)
    model = CrossedAutoencoders(seen.names.shape[1], wanted.shape[1], latent)
    optimiser = torch.optim.Adam(model.parameters(), learning_rate, fused=True)
    batches = max(1, round(len(rows) / 16))
    for _ in range(epochs):
        for part in np.array_split(rng.permutation(len(rows)), batches):
            clean = torch.from_numpy((drawn_texts(seen, rng) if noise else seen.texts.astype(np.float32))[part])
            noisy = clean + torch.randn(clean.shape) * (noise / math.sqrt(clean.shape[1]))
            loss = model.loss(F.normalize(noisy, dim=1), clean, wanted[part])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    def scores(features: np.ndarray, texts: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found = F.normalize(model(torch.from_numpy(texts.astype(np.float32))), dim=1).numpy()
        return (features - mean) @ found.T

    return scores


METHOD = Method(
    "ICIS",
    fit,
    {"epochs": (120, 1000), "learning_rate": (1e-5, 1e-4), "image_strength": (0.3, 1.0)},
    {"epochs": 1000, "learning_rate": 1e-5, "image_strength": 1.0},
    seeded=True,
)
WITH_NOISE = Method(
    "ICIS with text noise",
    fit,
    {"epochs": (150, 300), "learning_rate": (1e-4, 2e-4), "latent": (1024,), "noise": (1.0, 2.0, 3.0)},
    {"epochs": 150, "learning_rate": 2e-4, "latent": 1024, "noise": 3.0},
    by_condition=False,
    seeded=True,
)
