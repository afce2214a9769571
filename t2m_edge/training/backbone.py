"""Train a backbone from images: ``t2m-edge train backbone``.

One softmax classifier a data set on shared pooled features, so that classes that two sets have in common never compete.
With a text encoder, a second loss beside it: a linear map of the pooled features must find each image's class among the
text vectors of its data set (with noise, so that neighbours in text stay neighbours). Resolution grows during training
(progressive resizing) because most of the work is then done on small images. Every random choice of step ``i`` comes
from a generator seeded with (seed, i): a resumed run is the run that was interrupted.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from t2m_edge.backbones.resnet import INPUT_SIDE, POOLED, ResNet, normalise
from t2m_edge.hypernetworks.class_vectors import positive_halves, text_centres
from t2m_edge.text import load_text_encoder
from t2m_edge.training.datasets import ImageSet, load_images
from t2m_edge.training.splits import DATASETS, class_split
from t2m_edge.training.texts import class_embeddings, class_texts
from t2m_runtime.errors import InputError

CHECKPOINT_STEPS = 500
REPEATS = {"cifar100": 1, "tiny_imagenet": 1, "grocery": 4}


@dataclass(frozen=True)
class BackboneRecipe:
    """All that decides the result. ``stages`` are (image side, steps); ``start`` is a checkpoint to go on from.

    ``text`` is a text encoder's folder, None for no text loss; ``text_noise`` the length of the noise added to its unit
    vectors.
    """

    split: str
    seed: int = 0
    stages: tuple[tuple[int, int], ...] = ((48, 8000), (64, 4000), (96, 800))
    batch: int = 128
    learning_rate: float = 0.1
    warmup: float = 0.1
    weight_decay: float = 5e-4
    smallest_crop: float = 0.35
    start: str | None = None
    text: str | None = None
    text_noise: float = 1.0
    repeats: dict[str, int] = field(default_factory=lambda: dict(REPEATS))

    @property
    def steps(self) -> int:
        return sum(n for _, n in self.stages)

    def side(self, step: int) -> int:
        """Image side of a step."""
        for side, n in self.stages:
            if step < n:
                return side
            step -= n
        return self.stages[-1][0]

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then a cosine to zero."""
        x = step / self.steps
        if x < self.warmup:
            return self.learning_rate * x / self.warmup
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (x - self.warmup) / (1 - self.warmup)))


class Classifiers(nn.Module):
    """The backbone with one linear classifier for each data set."""

    def __init__(self, classes: dict[str, int]) -> None:
        super().__init__()
        self.backbone = ResNet()
        self.heads = nn.ModuleDict({name: nn.Linear(POOLED, n) for name, n in classes.items()})
        self.text: TextLoss | None = None

    def loss(self, x: Tensor, labels: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        """Mean loss of images of one data set after the other, with their labels by data set."""
        pooled = self.backbone(x).split([len(y) for y in labels.values()])
        total = x.new_zeros(())
        for (name, y), p in zip(labels.items(), pooled, strict=True):
            total = total + F.cross_entropy(self.heads[name](p), y, reduction="sum")
            if self.text is not None:
                total = total + self.text(name, p, y, generator)
        return total / len(x)

    def forward(self, x: Tensor, name: str) -> Tensor:
        """Images of one data set -> logits (n, classes)."""
        return self.heads[name](self.backbone(x))


class TextLoss(nn.Module):
    """Cross-entropy of the cosine between mapped pooled features and the noisy text vectors of a data set's classes."""

    def __init__(self, vectors: dict[str, np.ndarray], noise: float) -> None:
        super().__init__()
        self.vectors = {name: torch.from_numpy(v) for name, v in vectors.items()}
        self.noise = noise
        self.map = nn.Linear(POOLED, next(iter(vectors.values())).shape[1])
        self.log_scale = nn.Parameter(torch.tensor(math.log(10)))

    def forward(self, name: str, pooled: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Sum over pooled features float32 (n, 512) of data set ``name``, labels int64 (n,)."""
        texts = self.vectors[name]
        noise = torch.randn(texts.shape, generator=generator) * (self.noise / math.sqrt(texts.shape[1]))
        texts = F.normalize(texts + noise, dim=1).to(pooled.device)
        logits = self.log_scale.exp() * F.normalize(self.map(pooled), dim=1) @ texts.T
        return F.cross_entropy(logits, labels, reduction="sum")


def text_loss(recipe: BackboneRecipe, shared: Path, seen: dict[str, tuple[str, ...]]) -> TextLoss | None:
    """The text loss of the seen classes' names and descriptions, None where the recipe has no text encoder."""
    if recipe.text is None:
        return None
    encoder, texts = load_text_encoder(Path(recipe.text)), class_texts(shared)
    found = {d: class_embeddings(encoder, texts[d], seen[d]) for d in DATASETS}
    centres = text_centres(list(found.values()))
    return TextLoss({d: positive_halves(*found[d], centres) for d in DATASETS}, recipe.text_noise)


def batches(sets: list[ImageSet], recipe: BackboneRecipe, start: int) -> Iterator[list[np.ndarray]]:
    """Image numbers of each data set for step ``start`` and on; an epoch visits a set ``repeats`` times."""
    owner = np.concatenate([np.full(len(s.labels) * recipe.repeats[s.name], i) for i, s in enumerate(sets)])
    number = np.concatenate([np.tile(np.arange(len(s.labels)), recipe.repeats[s.name]) for s in sets])
    per_epoch = len(owner) // recipe.batch
    order, epoch = np.empty(0, np.int64), -1
    for step in range(start, recipe.steps):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = np.random.default_rng((recipe.seed, epoch)).permutation(len(owner))
        rows = order[(step % per_epoch) * recipe.batch :][: recipe.batch]
        yield [number[rows[owner[rows] == i]] for i in range(len(sets))]


def augment(images: np.ndarray, side: int, smallest: float, generator: torch.Generator, device: str) -> Tensor:
    """Random resized crop, mirror, brightness and contrast. uint8 (n, s, s, 3) -> float32 (n, 3, side, side)."""
    n = len(images)
    draw = torch.rand((6, n), generator=generator)
    area = smallest + (1 - smallest) * draw[0]
    aspect = torch.exp((draw[1] - 0.5) * 2 * math.log(4 / 3))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    mirror = torch.where(draw[4] < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * mirror, height
    theta[:, 0, 2], theta[:, 1, 2] = (1 - width) * (2 * draw[2] - 1), (1 - height) * (2 * draw[3] - 1)
    x = normalise(torch.from_numpy(images).to(device))
    grid = F.affine_grid(theta, [n, 3, side, side], align_corners=False).to(device)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    gain = (0.8 + 0.4 * draw[5]).to(device).view(n, 1, 1, 1)
    return (x * gain).contiguous(memory_format=torch.channels_last)


def train_backbone(recipe: BackboneRecipe, shared: Path, cache: Path, output: Path, device: str = "cpu") -> Path:
    """Train; write ``output/backbone.safetensors`` and ``backbone.json``. Resumes from ``output/resume.pt``.

    Raises:
        FileNotFoundError: ``shared`` holds no data.
        InputError: ``resume.pt`` is of another recipe.
    """
    output.mkdir(parents=True, exist_ok=True)
    split = class_split(shared, recipe.split)
    sets = [load_images(shared, cache, d, "train").only(split.seen[d]) for d in DATASETS]
    torch.manual_seed(recipe.seed)
    model = Classifiers({s.name: len(s.classes) for s in sets})
    if recipe.start:
        model.backbone.load_state_dict(load_file(recipe.start))
    model.text = text_loss(recipe, shared, split.seen)
    model = model.to(device, memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
    first = 0
    resume = output / "resume.pt"
    if resume.exists():
        state = torch.load(resume, weights_only=True, map_location=device)
        changed = [k for k, v in asdict(recipe).items() if state["recipe"][k] != v]
        if changed:
            raise InputError(
                f"{resume} is of a run with other {', '.join(changed)}; remove it or choose another --output"
            )
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    model.train()
    began, mean_loss = time.monotonic(), 0.0
    for step, rows in enumerate(batches(sets, recipe, first), first):
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        side = recipe.side(step)
        present = [(s, r) for s, r in zip(sets, rows, strict=True) if len(r)]
        x = torch.cat([augment(s.images[r], side, recipe.smallest_crop, generator, device) for s, r in present])
        loss = model.loss(x, {s.name: torch.from_numpy(s.labels[r]).to(device) for s, r in present}, generator)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate(step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        mean_loss += (loss.item() - mean_loss) * (0.01 if step - first > 100 else 1 / (step - first + 1))
        if not math.isfinite(mean_loss):
            raise FloatingPointError(f"the loss is not finite at step {step}; lower the learning rate")
        if (step + 1) % 100 == 0:
            speed = (time.monotonic() - began) / (step + 1 - first)
            print(
                f"step {step + 1}/{recipe.steps} side {side} loss {mean_loss:.3f} "
                f"{recipe.batch / speed:.0f} images/s, about {(recipe.steps - step - 1) * speed / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )
        if (step + 1) % CHECKPOINT_STEPS == 0 or step + 1 == recipe.steps:
            state = {
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "step": step + 1,
                "recipe": asdict(recipe),
            }
            torch.save(state, resume.with_suffix(".part"))
            resume.with_suffix(".part").replace(resume)
    model.eval()
    accuracy = {d: seen_accuracy(model, load_images(shared, cache, d, "test").only(split.seen[d])) for d in DATASETS}
    record = {"recipe": asdict(recipe), "seen": split.seen, "unseen": split.unseen, "seen_test_accuracy": accuracy}
    (output / "backbone.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    weights = {k: v.cpu().contiguous() for k, v in model.backbone.state_dict().items()}
    save_file(weights, str(output / "backbone.safetensors"))
    print(f"seen classes, test images, top-1: {accuracy}", file=sys.stderr)
    return output / "backbone.safetensors"


@torch.inference_mode()
def seen_accuracy(model: Classifiers, images: ImageSet) -> float:
    """Mean per-class top-1 of the training classifiers on test images of seen classes, at the model's input side."""
    device = next(model.parameters()).device
    hits = []
    for begin in range(0, len(images.labels), 256):
        x = normalise(torch.from_numpy(images.images[begin : begin + 256]).to(device))
        x = F.interpolate(x, (INPUT_SIDE, INPUT_SIDE), mode="bilinear", antialias=True)
        x = x.contiguous(memory_format=torch.channels_last)
        hits.append(model(x, images.name).argmax(1).cpu().numpy())
    right = np.concatenate(hits) == images.labels
    return float(np.mean([right[images.labels == c].mean() for c in np.unique(images.labels)]))


def load_backbone(path: Path) -> ResNet:
    """A trained backbone in evaluation mode."""
    model = ResNet()
    model.load_state_dict(load_file(str(path)))
    return model.eval()
