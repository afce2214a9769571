"""Artifacts of every cell, opened by the readers that users have, old and new, on photos.

Slow: readers that do not live beside each other get an environment of their own from PyPI. An existing one is used
where T2M_READER_<name> is its python, such as T2M_READER_tflite_runtime=~/old/bin/python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import t2m_edge
from t2m_edge.packs import load_pack
from t2m_runtime import read_manifest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "exporters" / "reader.py"
PHOTOS = int(os.environ.get("T2M_READER_PHOTOS", "200"))
# name -> (reader of the script, what pip installs; nothing where the test's own environment has it)
ENVIRONMENTS = {
    "litert": ("litert", []),
    "litert-reference": ("litert-reference", []),
    "onnxruntime": ("onnxruntime", []),
    "tflite_runtime": ("tflite_runtime", ["tflite-runtime==2.14.0", "numpy<2"]),
    "tflite_micro": ("tflite_micro", ["--pre", "tflite-micro", "numpy<2"]),
    "onnxruntime_1_17": ("onnxruntime", ["onnxruntime==1.17.3", "numpy<2"]),
    "mediapipe": ("mediapipe", ["mediapipe"]),
}
TFLITE = ("litert-reference", "tflite_runtime", "mediapipe")
CASES = [
    *(("tflite", p, reader) for p in ("fp32", "fp16", "int8", "int8-dynamic") for reader in TFLITE),
    ("tflite", "int8", "tflite_micro"),
    *(("onnx", p, "onnxruntime_1_17") for p in ("fp32", "fp16", "int8", "int8-dynamic")),
]


def compared_with(target: str, precision: str, reader: str) -> str:
    """The newest reader; of quantised TFLite models, for kernels other than XNNPACK, its reference kernels."""
    if target == "onnx":
        return "onnxruntime"
    return "litert-reference" if "int8" in precision and reader in ("tflite_runtime", "tflite_micro") else "litert"


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """Name of an environment -> its python."""
    made: dict[str, str] = {}

    def find(name: str) -> str:
        if name not in made:
            wanted = ENVIRONMENTS[name][1]
            made[name] = os.environ.get(f"T2M_READER_{name}") or (make(name, wanted) if wanted else sys.executable)
        return made[name]

    def make(name: str, wanted: list[str]) -> str:
        folder = tmp_path_factory.mktemp(name)
        venv.create(folder, with_pip=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *wanted]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"{' '.join(wanted)} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
        return str(folder / "bin" / "python")

    return find


@pytest.fixture(scope="session")
def photos() -> np.ndarray:
    """Probe photos of the default pack, and crops of them at other sizes: uint8 (PHOTOS, 96, 96, 3)."""
    from t2m_runtime.preparation import prepare

    images, rng = load_pack().probes.images, np.random.default_rng(0)
    side, out = images.shape[1], [*images]
    while len(out) < PHOTOS:
        image = images[rng.integers(len(images))]
        size = int(rng.integers(side // 2, side))
        y, x = rng.integers(0, side - size + 1, 2)
        out.append(prepare(image[y : y + size, x : x + size], side, side))
    return np.stack(out[:PHOTOS])


@pytest.fixture(scope="session")
def scores(python, photos, tmp_path_factory):
    """(target, precision, environment) -> float32 (PHOTOS, 10) and what the reader printed."""
    folder, found = tmp_path_factory.mktemp("readers"), {}
    np.save(folder / "photos.npy", photos)

    def run(target: str, precision: str, name: str):
        key = (target, precision, name)
        if key not in found:
            model, out = folder / f"{precision}.{target}", folder / f"{precision}.{target}.{name}.npy"
            if not model.exists():
                t2m_edge.compile(ROOT / "examples" / "grocery.txt", model, target=target, precision=precision)
            environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
            done = subprocess.run(
                [python(name), str(SCRIPT), ENVIRONMENTS[name][0], str(model), str(folder / "photos.npy"), str(out)],
                capture_output=True,
                text=True,
                env=environment,
            )
            assert done.returncode == 0, done.stderr[-2000:]
            found[key] = np.load(out), done.stdout, read_manifest(model).labels
        return found[key]

    return run


@pytest.mark.parametrize("target, precision, reader", CASES)
def test_every_reader_gives_the_newest_ones_answers(scores, target, precision, reader, capsys):
    expected, _, labels = scores(target, precision, compared_with(target, precision, reader))
    found, printed, _ = scores(target, precision, reader)
    if reader == "mediapipe":
        assert json.loads(printed.splitlines()[-1]) == list(labels)
    difference = np.abs(found - expected)
    # Steps of int8 logits tie now and then: a class that ties with the best is best too.
    chosen = np.take_along_axis(expected, found.argmax(1)[:, None], 1)[:, 0]
    same = chosen >= expected.max(1) - 1e-6
    with capsys.disabled():
        print(f"\n{target} {precision} {reader}: max {difference.max():.2g}, mean {difference.mean():.2g}", end="")
        print(f", top-1 equal on {same.mean():.1%} of {len(same)}")
        for i in np.flatnonzero(~same):
            best = np.sort(expected[i])[-2:]
            print(f"  photo {i}: {labels[expected[i].argmax()]} -> {labels[found[i].argmax()]}", end="")
            print(f", margin {best[1] - best[0]:.3f}")
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-3)
    if precision in ("fp32", "fp16"):
        assert same.all() and difference.max() <= 1e-4
    else:
        assert same.mean() >= 0.95 and difference.mean() <= 0.02


def test_readers_with_the_same_kernels_agree_exactly(scores):
    """MediaPipe runs LiteRT's XNNPACK kernels."""
    expected, found = scores("tflite", "int8", "litert")[0], scores("tflite", "int8", "mediapipe")[0]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8-dynamic"])
def test_the_onnx_checker_passes_with_shape_inference(tmp_path, precision):
    import onnx

    path = tmp_path / "m.onnx"
    t2m_edge.compile(ROOT / "examples" / "grocery.txt", path, target="onnx", precision=precision)
    onnx.checker.check_model(onnx.load(path), full_check=True)
