"""A backbone that was brought along: an embedding model in ``.tflite`` or ``.onnx``, its graph used as it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2m_runtime import InputError, prepare
from t2m_runtime.engines import load_engine

if TYPE_CHECKING:
    from PIL import Image

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
MAX_BYTES = 2**28
PROGRESS_SECONDS = 30


@dataclass(frozen=True)
class AdoptedBackbone:
    """Ready graphs by "precision.target", and what they take and give.

    Args:
        size: (height, width) of the image.
        features: length of a feature vector.
        scale, zero_point: of the int8 features; of a float model, chosen when features are first seen (scale 0).
        threads: for the engine that runs it.
    """

    name: str
    files: dict[str, bytes]
    size: tuple[int, int]
    features: int
    scale: float
    zero_point: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    threads: int = 1

    def run(
        self, images: Sequence[np.ndarray], key: str | None = None, progress: Callable[[str], None] | None = None
    ) -> np.ndarray:
        """Features of images of any size, prepared first: float32 (n, d).

        Args:
            key: which graph; None takes the int8 one where there is one.
            progress: told every half minute how far it is.
        """
        key = key or next(k for k in ("int8.tflite", "int8.onnx", "fp32.tflite", "fp32.onnx") if k in self.files)
        quantization = (self.scale, self.zero_point) if key == "int8.onnx" else (1.0, 0)
        model, kind = self.files[key], key.split(".")[1]
        engine = load_engine(kind, model, num_threads=self.threads, quantization=quantization)
        height, width = self.size
        rows, began, told = [], time.monotonic(), time.monotonic()
        for image in images:
            rows.append(engine.run(prepare(image, height, width)[None]))
            now = time.monotonic()
            if progress and now - told > PROGRESS_SECONDS:
                left = (now - began) / len(rows) * (len(images) - len(rows))
                progress(f"  {len(rows):,} of {len(images):,}, {left:.0f} s left")
                told = now
        engine.close()
        return np.stack(rows)


def adopt(
    path: Path,
    calibration: Iterable[np.ndarray | Image.Image] | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> AdoptedBackbone:
    """Read an embedding model.

    Args:
        path: a .tflite of uint8, int8 or 0-to-255 float images, or an .onnx of normalised float images.
        calibration: images of any size, uint8 (any, any, 3) or Pillow's; with them an .onnx gets an int8 form too.
        mean, std: of an .onnx, in units of the uint8 image; a .tflite has its normalisation inside.

    Raises:
        InputError: no such file, damaged, or no embedding model.
    """
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is no file of at most {MAX_BYTES} bytes; give a .tflite or .onnx embedding model")
    data = path.read_bytes()
    if path.suffix == ".tflite":
        from t2m_exporters.foreign_tflite import adopt_tflite, ends

        model = adopt_tflite(data)
        size, d, dtype, scale, zero_point = ends(model)
        key = "int8.tflite" if dtype == "int8" else "fp32.tflite"
        identity = (0.0,) * 3, (1.0,) * 3
        found = (scale, zero_point) if dtype == "int8" else (0.0, 0)
        return AdoptedBackbone(path.stem, {key: model}, size, d, *found, *identity)
    from t2m_exporters.foreign_onnx import adopt_onnx, quantize_onnx, run_onnx

    model = adopt_onnx(data, mean, std)
    import onnx

    shape = [d.dim_value for d in onnx.load_from_string(model).graph.input[0].type.tensor_type.shape.dim]
    size, files, found = (shape[1], shape[2]), {"fp32.onnx": model}, (0.0, 0)
    if calibration is not None:
        files["int8.onnx"] = quantize_onnx(model, np.stack([prepare(image, *size) for image in calibration]))
        found = _onnx_features(files["int8.onnx"])
    width = run_onnx(model, np.zeros((1, *size, 3), np.uint8)).shape[1]
    return AdoptedBackbone(path.stem, files, size, width, *found, mean, std)


def _onnx_features(model: bytes) -> tuple[float, int]:
    """Scale and zero point of the int8 features."""
    import onnx
    from onnx import numpy_helper

    constants = {t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(model).graph.initializer}
    return float(constants["features/scale"]), int(constants["features/zero_point"])
