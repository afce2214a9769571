"""What ``inject`` is compared with: rows of new classes from texts and the rows of the old ones, by published methods.

Each is a function of (texts (k, d_text), rows (k, d + 1), new_texts (n, d_text), settings...) -> (n, d + 1), float64:
text vectors of unit length after the old classes' mean is taken off, and rows whose last column is the bias. ConSE
gives no rows; its score is in ``inject.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from t2m_edge.compiler.text_to_rows import predict_directions
from t2m_edge.evaluation.methods.icis import CrossedAutoencoders
from t2m_edge.hypernetworks.class_vectors import unit


def weighted_average(texts: np.ndarray, rows: np.ndarray, new_texts: np.ndarray, nearest: int, power: float):
    """VGSE's WAvg (Xu et al., CVPR 2022, equation 6): the mean of the nearest old rows, by similarity to a power."""
    similar = np.maximum(new_texts @ texts.T, 0)
    cut = np.sort(similar, axis=1)[:, -min(nearest, len(texts))]
    weight = np.where(similar >= cut[:, None], similar, 0) ** power
    return weight / np.maximum(weight.sum(1, keepdims=True), 1e-12) @ rows


def costa(texts: np.ndarray, rows: np.ndarray, new_texts: np.ndarray):
    """COSTA (Mensink et al., CVPR 2014, equation 3): the sum of all rows, weighted by text similarity."""
    similar = new_texts @ texts.T
    return similar / np.maximum(np.abs(similar).sum(1, keepdims=True), 1e-12) @ rows


def subspace_regularisation(texts: np.ndarray, rows: np.ndarray, new_texts: np.ndarray, temperature: float):
    """Semantic subspace regulariser (Akyurek et al., ICLR 2022, equation 8), whose minimum without images is its
    target: old rows weighted by the softmax of the similarity."""
    score = new_texts @ texts.T / temperature
    weight = np.exp(score - score.max(1, keepdims=True))
    return weight / weight.sum(1, keepdims=True) @ rows


def ridge(texts: np.ndarray, rows: np.ndarray, new_texts: np.ndarray, strength: float):
    """Linear ridge regression from text vectors to rows."""
    mean = rows.mean(0)
    gram = texts.T @ texts + strength * len(texts) / texts.shape[1] * np.eye(texts.shape[1])
    return mean + new_texts @ np.linalg.solve(gram, texts.T @ (rows - mean))


def icis(
    texts: np.ndarray,
    rows: np.ndarray,
    new_texts: np.ndarray,
    latent: int = 2048,
    learning_rate: float = 1e-5,
    batch: int = 16,
    most_epochs: int = 1000,
    seed: int = 0,
):
    """ICIS as published (Christensen et al., ICCV 2023; PAPERS.md B.2 to B.4): crossed autoencoders, cosine losses,
    text -> text over the new classes too, its image-free stop rule; rows come at the mean length of the old ones."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    known = torch.from_numpy(rows.astype(np.float32))
    text = torch.from_numpy(np.concatenate([texts, new_texts]).astype(np.float32))
    model = CrossedAutoencoders(text.shape[1], known.shape[1], latent)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.02) if parameter.ndim > 1 else torch.nn.init.zeros_(parameter)
    optimiser = torch.optim.Adam(model.parameters(), learning_rate)
    history: list[float] = []
    flat = 0
    while len(history) < most_epochs and flat < 5:
        total = 0.0
        order = rng.permutation(len(text))
        for start in range(0, len(order), batch):
            part = order[start : start + batch]
            old, new = part[part < len(known)], part[part >= len(known)]
            loss = model.loss(text[old], text[old], known[old]) if len(old) else torch.zeros(())
            if len(new):
                back = model.decode_text(F.relu(model.encode_text(text[new])))
                loss = loss + (1 - F.cosine_similarity(back, text[new], dim=1)).mean() * len(new) / len(part)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(part)
        history.append(total / len(order))
        if len(history) > 20:
            slope = (np.mean(history[-20:-10]) - np.mean(history[-10:])) / 10
            flat = flat + 1 if slope < 2e-3 else 0
    with torch.inference_mode():
        found = model(text[len(known) :]).numpy().astype(np.float64)
    return unit(found) * np.linalg.norm(rows, axis=1).mean()


def ours(texts: np.ndarray, rows: np.ndarray, new_texts: np.ndarray):
    """What ``t2m-edge inject`` does, before its calibration."""
    found = predict_directions(texts, rows[:, :-1], rows[:, -1], new_texts)
    length = np.linalg.norm(rows[:, :-1] - rows[:, :-1].mean(0), axis=1).mean()
    return rows.mean(0) + length * found.new


@dataclass(frozen=True)
class RowMethod:
    """One method; grid: the settings among which pseudo-unseen rows choose."""

    name: str
    predict: Callable[..., np.ndarray]
    grid: tuple[dict[str, Any], ...] = ({},)


ROW_METHODS = (
    RowMethod("COSTA", costa),
    RowMethod(
        "weighted average",
        weighted_average,
        tuple({"nearest": n, "power": p} for n in (3, 5, 10, 20, 50) for p in (1.0, 2.0, 5.0)),
    ),
    RowMethod(
        "subspace regularisation",
        subspace_regularisation,
        tuple({"temperature": t} for t in (0.03, 0.05, 0.1, 0.2, 0.5)),
    ),
    RowMethod("ridge to rows", ridge, tuple({"strength": s} for s in (0.1, 0.3, 1.0, 3.0, 10.0))),
    RowMethod("ICIS as published", icis),
    RowMethod("ours (kernel ridge)", ours),
)
