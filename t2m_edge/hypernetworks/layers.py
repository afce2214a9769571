"""Equivariant and invariant layers over a set of classes (T2M-HN, arXiv 2210.15182; PAPERS.md A.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EquivariantLinear(nn.Module):
    """out_i = A z_i + B mean_j z_j, both maps with bias; without ``mixing`` only A: each class by itself.

    float32 (..., k, inputs) -> (..., k, outputs). Permuting the k rows permutes the outputs.
    """

    def __init__(self, inputs: int, outputs: int, mixing: bool = True) -> None:
        super().__init__()
        self.own = nn.Linear(inputs, outputs)
        self.all = nn.Linear(inputs, outputs) if mixing else None

    def forward(self, z: Tensor) -> Tensor:
        out = self.own(z)
        return out if self.all is None else out + self.all(z.mean(-2, keepdim=True))


class InvariantLinear(nn.Module):
    """C relu(reduce_i [A z_i + B mean_j z_j]): float32 (..., k, inputs) -> (..., outputs), the same for any order.

    The published layer sums over the classes, so that its output grows with k (PAPERS.md A.2); ``reduction="mean"``,
    the default here, does not. ``"sum"`` keeps the published form for comparison.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, mixing: bool = True, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction is {reduction!r}; it must be 'mean' or 'sum'")
        self.inner = EquivariantLinear(inputs, hidden, mixing)
        self.outer = nn.Linear(hidden, outputs)
        self.reduction = reduction

    def forward(self, z: Tensor) -> Tensor:
        h = self.inner(z)
        return self.outer(torch.relu(h.mean(-2) if self.reduction == "mean" else h.sum(-2)))
