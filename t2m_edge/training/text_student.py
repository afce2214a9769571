"""The student: the OwnEncoder of t2m_edge/text/encoder.py in torch, its training loop and its int8 form."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from t2m_edge.text.encoder import MATRICES, PLACES

LISTS_TOGETHER = 64


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; steps, never seconds, so that two machines do the same work."""

    steps: int = 10_000
    batch: int = 256
    rate: float = 2e-3
    table_rate: float = 6e-3
    warmup: int = 200
    temperature: float = 1 / 20
    checkpoint_every: int = 1_000


@dataclass(frozen=True)
class Shape:
    """Widths: of a token row, the heads of the first and of the second look, the hidden layers, an embedding."""

    width: int = 128
    first_heads: int = 4
    context: int = 256
    heads: int = 8
    hidden: int = 768
    d_text: int = 384


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


class Student(nn.Module):
    """The formula of OwnEncoder.

    Args:
        tokens: vocabulary size.
        shape: widths of its parts.
    """

    def __init__(self, tokens: int, shape: Shape):
        super().__init__()
        e, heads = shape.width, shape.heads
        self.table = nn.Parameter(torch.randn(tokens, e) / math.sqrt(e))
        self.log_weight = nn.Parameter(torch.zeros(tokens))
        self.first_query = nn.Linear(e, shape.first_heads * e)
        self.first_places = nn.Parameter(torch.zeros(shape.first_heads, 2 * PLACES))
        self.context = nn.Linear((1 + shape.first_heads) * e, shape.context)
        self.query = nn.Linear(shape.context, heads * e)
        self.places = nn.Parameter(torch.zeros(heads, 2 * PLACES))
        self.hidden = nn.Linear((1 + heads) * e, shape.hidden)
        self.linear = nn.Linear((1 + heads) * e + shape.hidden, shape.d_text)
        # A query is learned at this share of its size, so that its matrix and the others take one rate.
        self.sharpness = 4 / math.sqrt(e)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        """Token lists (ids, offsets) -> (n, d_text), unit rows."""
        lengths = torch.diff(offsets, append=torch.tensor([len(ids)]))
        order = lengths.argsort()
        # Lists of like length pass together, so that little is padded.
        parts = [self._pooled(ids, offsets[some], lengths[some]) for some in order.split(LISTS_TOGETHER)]
        pooled = torch.cat(parts)[order.argsort()]
        return F.normalize(self.linear(torch.cat([pooled, F.relu(self.hidden(pooled))], dim=1)), dim=1)

    def _pooled(self, ids: Tensor, offsets: Tensor, lengths: Tensor) -> Tensor:
        """Some of the lists -> their m, (n, (1 + heads) width)."""
        step = torch.arange(int(lengths.max()))
        real = step < lengths[:, None]
        tokens = ids[torch.where(real, offsets[:, None] + step, 0)]
        rows = F.embedding(tokens, self.table)
        base = self.log_weight[tokens].masked_fill(~real, -1e9)[:, None]
        mean = base.softmax(2) @ rows
        from_end = (lengths[:, None] - 1 - step).clamp(0, PLACES - 1)

        def look(queries: Tensor, places: Tensor) -> Tensor:
            first, last = places.split(PLACES, dim=1)
            place = first[:, step.clamp(max=PLACES - 1)] + last[:, from_end].transpose(0, 1)
            scores = self.sharpness * queries.view(len(rows), -1, rows.shape[2]) @ rows.transpose(1, 2) + base + place
            return torch.cat([mean, scores.softmax(2) @ rows], dim=1).flatten(1)

        context = F.relu(self.context(look(self.first_query(mean[:, 0]), self.first_places)))
        return look(self.query(context), self.places)


def distillation_loss(student: Tensor, target: Tensor, temperature: float) -> Tensor:
    """5 (1 - cos) + KL between the softmaxed similarities inside the batch, target against student."""
    cosine = (student * target).sum(dim=1).mean()
    theirs = F.log_softmax(target @ target.T / temperature, dim=1)
    ours = F.log_softmax(student @ student.T / temperature, dim=1)
    return 5 * (1 - cosine) + F.kl_div(ours, theirs, log_target=True, reduction="batchmean")


def train_student(
    student: Student,
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
        nn.utils.clip_grad_norm_(small, 1.0)
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


def _save(path: Path, student: Student, optimizer, scheduler, step: int) -> None:
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


def quantized_tensors(student: Student, taught_words: np.ndarray) -> dict[str, np.ndarray]:
    """The tensors of an OwnEncoder; matrices in int8, one scale a row, symmetric."""
    matrices = {"table": (student.table, None)}
    for name in MATRICES:
        dense, size = getattr(student, name), student.sharpness if name.endswith("query") else 1.0
        matrices[name] = (size * dense.weight, size * dense.bias)
    tensors = {"taught_words": taught_words}
    for name, (matrix, bias) in matrices.items():
        values = matrix.detach().numpy()
        # The table's scales are many: they take half the bytes.
        dtype = np.float16 if name == "table" else np.float32
        scale = np.maximum(np.abs(values).max(axis=1) / 127, 1e-6).astype(dtype)
        tensors[name] = np.clip(np.rint(values / scale[:, None].astype(np.float32)), -127, 127).astype(np.int8)
        tensors[f"{name}_scale"] = scale
        if bias is not None:
            tensors[f"{name}_bias"] = bias.detach().numpy()
    tensors["first_places"] = student.first_places.detach().numpy()
    tensors["places"] = student.places.detach().numpy()
    tensors["token_weight"] = student.log_weight.detach().exp().numpy()
    return tensors
