"""The default backbone: a small plain ResNet of CONV_2D, ADD and MEAN alone, which every int8 runtime runs well."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (32, 64, 112, 192)
BLOCKS = (1, 1, 2, 1)
POOLED = 512
INPUT_SIDE = 96


class ConvNorm(nn.Module):
    """3x3 or 1x1 convolution with TFLite's SAME padding, then batch normalisation and, if asked, ReLU.

    On even sizes, SAME at stride 2 pads nothing before and one row after, unlike PyTorch's symmetric padding.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.shifted = kernel == 3 and stride == 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, 0 if self.shifted else kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(F.pad(x, (0, 1, 0, 1)) if self.shifted else x))
        return F.relu(x, inplace=True) if self.relu else x


class Block(nn.Module):
    """Basic residual block (He et al. 2016, figure 2), with a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = ConvNorm(inputs, outputs, 3, stride)
        self.second = ConvNorm(outputs, outputs, 3, 1, relu=False)
        self.short = ConvNorm(inputs, outputs, 1, stride, relu=False) if stride != 1 or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + (x if self.short is None else self.short(x)), inplace=True)


class ResNet(nn.Module):
    """Image, float32 (n, 3, H, W) normalised as (u8 - 128) / 128 -> pooled features, float32 (n, 512), not negative."""

    def __init__(self, stem: int = 16, widths: tuple[int, ...] = WIDTHS, blocks: tuple[int, ...] = BLOCKS) -> None:
        super().__init__()
        self.stem = ConvNorm(3, stem, 3, 2)
        stages = []
        inputs = stem
        for width, count in zip(widths, blocks, strict=True):
            for i in range(count):
                stages.append(Block(inputs, width, 2 if i == 0 else 1))
                inputs = width
        self.blocks = nn.Sequential(*stages)
        self.last = ConvNorm(inputs, POOLED, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(self.stem(x))).mean((2, 3))


def normalise(images: Tensor) -> Tensor:
    """uint8 (n, H, W, 3) -> float32 (n, 3, H, W), (u8 - 128) / 128, channels last in memory."""
    return images.permute(0, 3, 1, 2).float().sub_(128).div_(128)
