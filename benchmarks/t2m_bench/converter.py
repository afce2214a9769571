"""The usual way to an int8 .tflite, timed: litert-torch converts a PyTorch model, ai-edge-quantizer quantises it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from t2m_bench.suite_run import process, summary_of
from t2m_runtime.errors import InputError

# A network of the default pack's kind and size: a plain ResNet for 96 x 96 images, 38 million multiply-adds. Its
# weights are random, which cost the same to convert. It runs in processes of its own: nothing here imports torch.
WRITE = """
import sys
from pathlib import Path
import litert_torch, numpy as np, torch
from ai_edge_quantizer import quantizer, recipe
from torch import nn

class Block(nn.Module):
    def __init__(self, width, out, stride):
        super().__init__()
        self.first = nn.Conv2d(width, out, 3, stride, 1)
        self.second = nn.Conv2d(out, out, 3, 1, 1)
        self.skip = nn.Conv2d(width, out, 1, stride)

    def forward(self, x):
        return torch.relu(self.second(torch.relu(self.first(x))) + self.skip(x))

layers, width = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()], 16
for out, stride in ((32, 2), (64, 2), (112, 2), (112, 1), (192, 2)):
    layers.append(Block(width, out, stride))
    width = out
network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10), nn.Softmax(1)).eval()
images = np.random.default_rng(0).normal(size=(8, 1, 3, 96, 96)).astype(np.float32)
floating = Path(sys.argv[1]).with_suffix(".float.tflite")
litert_torch.convert(network, (torch.from_numpy(images[0]),)).export(str(floating))
worker = quantizer.Quantizer(str(floating), recipe.static_wi8_ai8())
calibration = {"serving_default": [{"args_0": image} for image in images]}
worker.quantize(worker.calibrate(calibration)).export_model(sys.argv[1], overwrite=True)
floating.unlink()
"""


def check() -> None:
    """Raises InputError where the converter is not installed."""
    for package in ("litert_torch", "ai_edge_quantizer", "torch"):
        if find_spec(package) is None:
            raise InputError(f"the suite needs {package}: pip install 't2m-edge[convert]'")


def convert(model: Path, processes: int) -> dict[str, object]:
    """Writes the model; what new processes of that take, after one to warm the disk.

    Raises:
        WorkError: it failed.
    """
    command = [sys.executable, "-c", WRITE, str(model)]
    process(command)
    runs = [process(command) for _ in range(processes)]
    return {"command": "litert-torch + ai-edge-quantizer", **summary_of(runs)}
