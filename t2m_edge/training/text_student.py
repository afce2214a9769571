"""The student: the bag-of-tokens encoder of t2m_edge/text/encoder.py in torch, its training loop and its int8 form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; steps, never seconds, so that two machines do the same work."""

    steps: int = 10_000
    batch: int = 256
    rate: float = 3e-3
    table_rate: float = 6e-3
    warmup: int = 200
    temperature: float = 1 / 20
    checkpoint_every: int = 1_000


@dataclass(frozen=True)
class TokenLists:
    """Many token lists in two arrays: list i is `ids[starts[i]:starts[i + 1]]`; none is empty."""

    ids: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, lists: Sequence[Sequence[int]]) -> TokenLists:
        """Packs the lists; ids int32, starts int64 (n + 1,)."""
        starts = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(ids) for ids in lists], out=starts[1:])
        return cls(np.concatenate([np.asarray(ids, np.int32) for ids in lists]), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        """(ids int64 (total,), offsets int64 (len(rows),)) of the lists `rows`, as an embedding bag wants them."""
        lengths = self.starts[rows + 1] - self.starts[rows]
        offsets = np.cumsum(lengths) - lengths
        places = np.arange(lengths.sum()) + np.repeat(self.starts[rows] - offsets, lengths)
        return torch.from_numpy(self.ids[places].astype(np.int64)), torch.from_numpy(offsets)


class Bag(nn.Module):
    """Weighted mean of token rows, then A m + B relu(C m + c) + b, unit length (see BagEncoder).

    Args:
        tokens: vocabulary size.
        width: of a token row.
        hidden: width of the hidden layer.
        d_text: width of an embedding.
    """

    def __init__(self, tokens: int, width: int, hidden: int, d_text: int):
        super().__init__()
        self.table = nn.Parameter(torch.randn(tokens, width) / math.sqrt(width))
        self.log_weight = nn.Parameter(torch.zeros(tokens))
        self.hidden = nn.Linear(width, hidden)
        self.linear = nn.Linear(width + hidden, d_text)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Token lists (ids, offsets) -> (n, d_text), unit rows."""
        weight = self.log_weight[ids].exp()
        sums = F.embedding_bag(ids, self.table, offsets, mode="sum", per_sample_weights=weight)
        totals = F.embedding_bag(ids, self.log_weight.exp().unsqueeze(1), offsets, mode="sum")
        mean = sums / totals
        features = torch.cat([mean, F.relu(self.hidden(mean))], dim=1)
        return F.normalize(self.linear(features), dim=1)


def distillation_loss(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """5 (1 - cos) + KL between the softmaxed similarities inside the batch, target against student."""
    cosine = (student * target).sum(dim=1).mean()
    theirs = F.log_softmax(target @ target.T / temperature, dim=1)
    ours = F.log_softmax(student @ student.T / temperature, dim=1)
    return 5 * (1 - cosine) + F.kl_div(ours, theirs, log_target=True, reduction="batchmean")


def train_student(
    student: Bag,
    lines: TokenLists,
    targets: np.ndarray,
    schedule: Schedule,
    seed: int,
    checkpoint: Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Trains in place. With a checkpoint file, goes on from it and keeps it up to date; the result is the same.

    Args:
        student: to train.
        lines: token lists (n).
        targets: float16 or float32 (n, d_text), unit rows.
        schedule: see Schedule.
        seed: of the order of the lines.
        checkpoint: where the state is kept, or None.
        progress: gets a line of text now and then.
    """
    small = [p for name, p in student.named_parameters() if name not in ("table", "log_weight")]
    groups = [
        {"params": small, "lr": schedule.rate},
        {"params": [student.table, student.log_weight], "lr": schedule.table_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-4, foreach=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate_factor(step, schedule))
    step = 0
    if checkpoint is not None and checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        step = state["step"]
        progress(f"goes on from step {step} of {schedule.steps}")
    student.train()
    batches = _Batches(len(lines), schedule.batch, seed)
    running = 0.0
    while step < schedule.steps:
        rows = batches.rows(step)
        ids, offsets = lines.take(rows)
        output = student(ids, offsets)
        target = torch.from_numpy(targets[rows].astype(np.float32))
        loss = distillation_loss(output, target, schedule.temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        step += 1
        with torch.no_grad():
            running += ((output * target).sum(1).mean().item() - running) * max(0.01, 1 / step)
        if step % 500 == 0:
            progress(f"text student: step {step} of {schedule.steps}, cosine to target {running:.4f}")
        if checkpoint is not None and (step % schedule.checkpoint_every == 0 or step == schedule.steps):
            _save(checkpoint, student, optimizer, scheduler, step)
    student.eval()


def _rate_factor(step: int, schedule: Schedule) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    if step < schedule.warmup:
        return (step + 1) / schedule.warmup
    done = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


class _Batches:
    """Rows of step t: passes over all rows, each in an order drawn from (seed, pass); a short last batch drops out."""

    def __init__(self, count: int, batch: int, seed: int):
        self._count, self._batch, self._seed = count, min(batch, count), seed
        self._pass, self._order = -1, np.empty(0, np.int64)

    def rows(self, step: int) -> np.ndarray:
        number, place = divmod(step, self._count // self._batch)
        if number != self._pass:
            self._pass, self._order = number, np.random.default_rng([self._seed, number]).permutation(self._count)
        return self._order[place * self._batch : (place + 1) * self._batch]


def _save(path: Path, student: Bag, optimizer, scheduler, step: int) -> None:
    aside = path.with_suffix(".part")
    torch.save(
        {
            "student": student.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "step": step,
        },
        aside,
    )
    aside.replace(path)


def quantized_tensors(student: Bag, taught_words: np.ndarray) -> dict[str, np.ndarray]:
    """The int8 tensors of a BagEncoder: one scale a row, symmetric."""
    tensors: dict[str, np.ndarray] = {"taught_words": taught_words}
    matrices = {"table": student.table, "hidden": student.hidden.weight, "linear": student.linear.weight}
    for name, matrix in matrices.items():
        values = matrix.detach().numpy()
        scale = np.maximum(np.abs(values).max(axis=1) / 127, 1e-12).astype(np.float32)
        tensors[name] = np.clip(np.rint(values / scale[:, None]), -127, 127).astype(np.int8)
        tensors[f"{name}_scale"] = scale
    tensors["hidden_bias"] = student.hidden.bias.detach().numpy()
    tensors["linear_bias"] = student.linear.bias.detach().numpy()
    tensors["token_weight"] = student.log_weight.detach().exp().numpy()
    return tensors
