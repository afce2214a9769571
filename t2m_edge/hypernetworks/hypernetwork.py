"""The hypernetwork: class vectors -> the weights of a head (T2M-HN, arXiv 2210.15182; PAPERS.md A.2)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from t2m_edge.hypernetworks.layers import EquivariantLinear, InvariantLinear


@dataclass(frozen=True)
class HypernetworkConfig:
    """Shape of a hypernetwork.

    inputs: length of a class vector; features: length of a feature vector; width: of the body.
    hidden: hidden units of the target model, 0 for a linear one (EV); above 0 is IVEV.
    mixing: whether a class sees the mean of the others. members: networks averaged into one head.
    cosine: rows of unit length times a learned temperature and no bias; False is the published plain form.
    reduction: "mean", or "sum" as published (invariant layers only).
    skip: rows are a linear map of the class vector plus what the body adds; the map starts from a closed form.
    """

    inputs: int
    features: int
    width: int = 256
    hidden: int = 0
    mixing: bool = True
    members: int = 1
    cosine: bool = True
    reduction: str = "mean"
    skip: bool = False


@dataclass(frozen=True)
class HeadTensors:
    """weight (..., k, d or hidden), bias (..., k); with a hidden layer also (..., hidden, d) and (..., hidden)."""

    weight: Tensor
    bias: Tensor
    hidden_weight: Tensor | None = None
    hidden_bias: Tensor | None = None

    def logits(self, features: Tensor) -> Tensor:
        """features float32 (..., n, d) -> (..., n, k)."""
        if self.hidden_weight is not None:
            assert self.hidden_bias is not None
            features = torch.relu(features @ self.hidden_weight.mT + self.hidden_bias.unsqueeze(-2))
        return features @ self.weight.mT + self.bias.unsqueeze(-2)


class Member(nn.Module):
    """One network: a body of two equivariant layers, then an equivariant output for the target's last layer."""

    def __init__(self, config: HypernetworkConfig) -> None:
        super().__init__()
        last = config.hidden or config.features
        self.first = EquivariantLinear(config.inputs, config.width, config.mixing)
        self.second = EquivariantLinear(config.width, config.width, config.mixing)
        self.row = EquivariantLinear(config.width, last, config.mixing)
        self.bias = None if config.cosine else EquivariantLinear(config.width, 1, config.mixing)
        if config.skip:
            for parameter in self.row.parameters():
                nn.init.zeros_(parameter)

    def body(self, z: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(self.first(z))))


class Hypernetwork(nn.Module):
    """Class vectors, float32 (..., k, inputs) -> the weights of a head for those k classes, in their order.

    Permuting the classes permutes the rows of the last layer and leaves a hidden layer unchanged.
    """

    def __init__(self, config: HypernetworkConfig) -> None:
        super().__init__()
        self.config = config
        if config.hidden and config.members > 1:
            raise ValueError("only heads without a hidden layer can be averaged: use members=1 with hidden > 0")
        if config.hidden and config.skip:
            raise ValueError("a skip gives the rows of a linear head: use skip=False with hidden > 0")
        self.members = nn.ModuleList(Member(config) for _ in range(config.members))
        self.skip = nn.Linear(config.inputs, config.features) if config.skip else None
        self.log_scale = nn.Parameter(torch.tensor(2.3)) if config.cosine else None
        if config.hidden:
            size = (config.width, config.width)
            count = config.hidden * config.features
            self.hidden_weight = InvariantLinear(*size, count, config.mixing, config.reduction)
            self.hidden_bias = InvariantLinear(*size, config.hidden, config.mixing, config.reduction)

    def member_head(self, number: int, z: Tensor) -> HeadTensors:
        """The head of one member by itself; training gives each its own loss."""
        member = self.members[number]
        h = member.body(z)
        row = member.row(h) if self.skip is None else member.row(h) + self.skip(z)
        if self.log_scale is not None:
            row = F.normalize(row, dim=-1) * self.log_scale.exp()
        bias = row.new_zeros(row.shape[:-1]) if member.bias is None else member.bias(h).squeeze(-1)
        if not self.config.hidden:
            return HeadTensors(row, bias)
        shape = (*z.shape[:-2], self.config.hidden, self.config.features)
        return HeadTensors(row, bias, self.hidden_weight(h).reshape(shape), self.hidden_bias(h))

    def forward(self, z: Tensor) -> HeadTensors:
        heads = [self.member_head(i, z) for i in range(len(self.members))]
        if len(heads) == 1:
            return heads[0]
        weight = torch.stack([h.weight for h in heads]).mean(0)
        if self.log_scale is not None:
            weight = F.normalize(weight, dim=-1) * self.log_scale.exp()
        return HeadTensors(weight, torch.stack([h.bias for h in heads]).mean(0))


def save_hypernetwork(model: Hypernetwork, path: Path) -> None:
    """Write the weights as safetensors, the configuration in its metadata."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    save_file(tensors, str(path), {"config": json.dumps(asdict(model.config))})


def load_hypernetwork(path: Path) -> Hypernetwork:
    """Read what ``save_hypernetwork`` wrote, in evaluation mode."""
    with safe_open(str(path), "pt") as file:
        model = Hypernetwork(HypernetworkConfig(**json.loads(file.metadata()["config"])))
        model.load_state_dict({k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118 (not a dict)
    return model.eval()
