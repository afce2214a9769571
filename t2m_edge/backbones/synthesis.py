"""Calibration images made from a backbone's own statistics, for one that was brought without images.

ZeroQ (Cai et al. 2020, arXiv 2001.00281, section 3.1): an image batch x that minimises, over the batch
normalisations i,

    sum_i |mean_i(x) - mu_i|^2 + |std_i(x) - sigma_i|^2

where mean_i and std_i are those of the batch at the input of layer i, and mu_i and sigma_i what training left there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from t2m_runtime import InputError

IMAGES = 32
STEPS = 100
LEARNING_RATE = 0.2


def has_statistics(model: nn.Module) -> bool:
    """Whether there is a batch normalisation whose statistics images could match."""
    return any(isinstance(m, _BatchNorm) and m.running_mean is not None for m in model.modules())


def synthesise(
    model: nn.Module,
    size: tuple[int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    count: int = IMAGES,
    steps: int = STEPS,
    batch: int = 32,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> np.ndarray:
    """Images whose activations have the means and deviations that the batch normalisations keep.

    Args:
        model: in evaluation mode; takes float32 (n, 3, H, W), normalised ``(pixel - mean) / std``.
        size: (height, width).
        mean, std: of the three channels, in units of the uint8 image.
        count: images, made in batches of ``batch``; a batch matches the statistics as a whole.
        steps: of Adam, the rate going down to 0 by half a cosine; every step keeps the pixels within 0 to 255.

    Returns:
        uint8 (count, H, W, 3).

    Raises:
        InputError: the model has no batch normalisation.
    """
    if not has_statistics(model):
        raise InputError("the backbone has no batch normalisation to take statistics from; give --calibration FOLDER")
    low, gain = (torch.tensor(v, dtype=torch.float32).view(1, -1, 1, 1) for v in (mean, std))
    generator = torch.Generator().manual_seed(seed)
    required = [p.requires_grad for p in model.parameters()]
    model.requires_grad_(False)
    losses: list[Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs: losses.append(_distance(module, inputs[0])))
        for module in model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    parts = []
    try:
        for begin in range(0, count, batch):
            n = min(batch, count - begin)
            x = (torch.randn(n, 3, *size, generator=generator) * 64 + 128).clamp_(0, 255).sub_(low).div_(gain)
            x.requires_grad_(True)
            optimiser = torch.optim.Adam([x], LEARNING_RATE)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
            for step in range(steps):
                losses.clear()
                model(x)
                loss = torch.stack(losses).sum()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
                schedule.step()
                with torch.no_grad():
                    x.copy_(torch.maximum(torch.minimum(x, (255 - low) / gain), -low / gain))
                if progress and (step + 1) % 50 == 0:
                    progress(f"images {begin + 1} to {begin + n}, step {step + 1}/{steps}: distance {loss.item():.3g}")
            pixels = (x.detach() * gain + low).round_().clamp_(0, 255)
            parts.append(pixels.permute(0, 2, 3, 1).to(torch.uint8).numpy())
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, flag in zip(model.parameters(), required):
            parameter.requires_grad_(flag)
    return np.concatenate(parts)


def _distance(norm: _BatchNorm, x: Tensor) -> Tensor:
    """Squared distance of a batch's channel statistics to those that a layer keeps."""
    variance, mean = torch.var_mean(x, (0, *range(2, x.ndim)), correction=0)
    found = torch.sqrt(variance + norm.eps)
    return ((mean - norm.running_mean) ** 2).sum() + ((found - torch.sqrt(norm.running_var + norm.eps)) ** 2).sum()
