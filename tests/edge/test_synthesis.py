"""Calibration images from a backbone's own statistics."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from t2m_edge.backbones.resnet import ResNet, normalise  # noqa: E402
from t2m_edge.backbones.synthesis import synthesise  # noqa: E402
from t2m_runtime import InputError  # noqa: E402

GREY = (128.0, 128.0, 128.0)


@pytest.fixture(scope="module")
def trained() -> ResNet:
    """A small network whose batch normalisations have seen smooth dark pictures."""
    torch.manual_seed(0)
    model = ResNet(stem=8, widths=(8, 12), blocks=(1, 1)).train()
    for norm in (m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        norm.momentum = 0.3
    with torch.no_grad():
        for seed in range(20):
            model(normalise(torch.from_numpy(dark(16, seed))))
    return model.eval()


def dark(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 90, (count, 4, 4, 3), np.uint8).repeat(8, 1).repeat(8, 2)


def distance(model: ResNet, images: np.ndarray) -> float:
    found = []

    def hook(norm, inputs) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        off = (mean - norm.running_mean) ** 2 + (variance.sqrt() - norm.running_var.sqrt()) ** 2
        found.append(float(off.sum()))

    hooks = [m.register_forward_pre_hook(hook) for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        model(normalise(torch.from_numpy(images)))
    for handle in hooks:
        handle.remove()
    return sum(found)


def test_images_match_the_statistics_far_better_than_noise(trained) -> None:
    made = synthesise(trained, (32, 32), GREY, GREY, count=8, steps=60)
    noise = np.random.default_rng(0).integers(0, 256, made.shape, np.uint8)
    assert (made.shape, made.dtype) == ((8, 32, 32, 3), np.uint8)
    assert distance(trained, made) < 0.2 * distance(trained, noise)


def test_a_seed_gives_the_same_images_and_the_model_is_left_as_it_was(trained) -> None:
    a, b, c = (synthesise(trained, (16, 16), GREY, GREY, count=3, steps=3, seed=s) for s in (0, 0, 1))
    assert (a == b).all() and (a != c).any()
    assert all(p.requires_grad for p in trained.parameters())
    assert not any(m._forward_pre_hooks for m in trained.modules())


def test_a_model_without_batch_normalisation_is_refused() -> None:
    with pytest.raises(InputError, match="no batch normalisation"):
        synthesise(torch.nn.Conv2d(3, 4, 3), (16, 16), GREY, GREY)
