"""The usual way to an int8 .tflite, timed: litert-torch converts a PyTorch model, ai-edge-quantizer quantises it.

``python -m t2m_bench.converter MODEL.tflite`` is one such process. The network is of the default pack's kind and size
(a plain ResNet for 96 x 96 images, about 38 million multiply-adds) with random weights, which cost the same to convert.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from t2m_bench.suites import process, summary_of
from t2m_runtime.errors import InputError

WIDTHS = ((32, 2), (64, 2), (112, 2), (112, 1), (192, 2))
"""Channels and stride of each residual block."""
CALIBRATION_IMAGES = 8


def convert(model: Path, processes: int) -> dict[str, object]:
    """Writes the model; what new processes of that take, after one to warm the disk.

    Raises:
        InputError: the converter is not installed.
        WorkError: it failed.
    """
    for package in ("litert_torch", "ai_edge_quantizer", "torch"):
        if find_spec(package) is None:
            raise InputError(f"the suite needs {package}: pip install 't2m-edge[convert]'")
    command = [sys.executable, "-m", "t2m_bench.converter", str(model)]
    process(command)
    runs = [process(command) for _ in range(processes)]
    return {"command": "litert-torch + ai-edge-quantizer", **summary_of(runs)}


def write(model: Path) -> None:
    """Converts and quantises once, in this process."""
    import litert_torch
    import numpy as np
    import torch
    from ai_edge_quantizer import quantizer, recipe
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width: int, out: int, stride: int) -> None:
            super().__init__()
            self.first = nn.Conv2d(width, out, 3, stride, 1)
            self.second = nn.Conv2d(out, out, 3, 1, 1)
            self.skip = nn.Conv2d(width, out, 1, stride)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))

    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()]
    width = 16
    for out, stride in WIDTHS:
        layers.append(Block(width, out, stride))
        width = out
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10), nn.Softmax(1)).eval()
    rng = np.random.default_rng(0)
    images = rng.normal(size=(CALIBRATION_IMAGES, 1, 3, 96, 96)).astype(np.float32)
    floating = model.with_suffix(".float.tflite")
    litert_torch.convert(network, (torch.from_numpy(images[0]),)).export(str(floating))
    worker = quantizer.Quantizer(str(floating), recipe.static_wi8_ai8())
    calibration = {"serving_default": [{"args_0": image} for image in images]}
    worker.quantize(worker.calibrate(calibration)).export_model(str(model), overwrite=True)
    floating.unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
