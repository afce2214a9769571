"""The golden cases of runtimes/conformance, on every engine that is here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from t2m_runtime import Classifier, prepare
from t2m_runtime.arena import Room, arena_size
from t2m_runtime.core import CoreModel
from t2m_runtime.frames import Frame, frame_to_rgb

FOLDER = Path(__file__).parents[2] / "runtimes" / "conformance" / "cases"
CASES = sorted(path.name for path in FOLDER.iterdir())


class Golden:
    """One case as it lies on the disk."""

    def __init__(self, name: str) -> None:
        self.folder = FOLDER / name
        self.facts = json.loads((self.folder / "case.json").read_text(encoding="utf-8"))
        self.model = (self.folder / "model.tflite").read_bytes()
        head = self.folder / "head.t2mh"
        self.head = head.read_bytes() if head.exists() else None
        self.room = Room(**self.facts["room"])
        self.input = self.numbers("input.bin", np.uint8).reshape(24, 24, 3)
        self.scores = self.numbers("scores.bin", np.float32)
        planes = tuple(path.read_bytes() for path in sorted(self.folder.glob("plane*.bin")))
        spec = {key: tuple(value) if isinstance(value, list) else value for key, value in self.facts["frame"].items()}
        self.frame = Frame(planes=planes, **spec)

    def numbers(self, name: str, dtype: type) -> np.ndarray:
        return np.frombuffer((self.folder / name).read_bytes(), dtype)


@pytest.fixture(params=CASES)
def golden(request) -> Golden:
    return Golden(request.param)


def test_every_format_and_rotation_has_a_case():
    frames = [Golden(name).frame for name in CASES]
    assert len({frame.format for frame in frames}) == 9
    assert {frame.rotation for frame in frames} == {0, 90, 180, 270}


def test_core_gives_the_golden_tensors_and_answers(library, tools, golden):
    for kernels in tools.kernel_names(library):
        with CoreModel(golden.model, golden.room, kernels=kernels, library=library) as core:
            assert core.arena_size == golden.facts["arena_size"] == arena_size(golden.model, golden.room)
            if golden.head is not None:
                core.swap_head(golden.head)
            np.testing.assert_array_equal(core.prepare(golden.frame), golden.input)
            tolerance = golden.facts["scores_relative_tolerance"]
            np.testing.assert_allclose(core.run(), golden.scores, rtol=tolerance, atol=1e-7)
            if golden.facts["precision"] == "int8":
                np.testing.assert_array_equal(core.features(), golden.numbers("features.bin", np.int8))
            else:
                np.testing.assert_allclose(
                    core.features(), golden.numbers("features.bin", np.float32), rtol=1e-5, atol=1e-6
                )
            top, rejected = core.top(len(golden.scores))
            assert [index for index, _ in top] == golden.facts["top"]
            assert rejected == golden.facts["rejected"]
            assert [index for index, _ in top if core.is_present(index)] == golden.facts["present"]
            assert core.labels == tuple(golden.facts["labels"])


def test_python_prepares_the_golden_input(golden):
    image = frame_to_rgb(golden.frame)
    crop = "stretch" if "stretch" in golden.folder.name else "center"
    np.testing.assert_array_equal(prepare(image, 24, 24, crop), golden.input)


ENGINES = [("core", "model.tflite"), ("litert", "model.tflite"), ("onnxruntime", "model.onnx")]


@pytest.mark.parametrize(("engine", "file"), ENGINES)
def test_a_classifier_answers_within_the_stored_tolerance(golden, engine, file, library, monkeypatch):
    if golden.head is not None and engine != "core":
        pytest.skip("only the core swaps heads")
    monkeypatch.setenv("T2M_CORE_LIBRARY", library._name)
    tolerance = golden.facts["other_engines_tolerance"]
    # Logits are not bounded by 1: their tolerance is relative to the largest.
    slack = (2e-6 if engine == "core" else tolerance) * max(1.0, float(np.abs(golden.scores).max()))
    with Classifier.load(golden.folder / file, engine=engine) as classifier:
        if golden.head is not None:
            classifier.swap_head(golden.head)
        result = classifier.classify(golden.frame)
        scores = dict(zip(result.names, result.scores, strict=True))
        labels = golden.facts["labels"]
        np.testing.assert_allclose([scores[name] for name in labels], golden.scores, atol=slack)
        assert result.rejected == golden.facts["rejected"]
        if classifier.manifest.output.scores == "sigmoid":
            assert [labels.index(name) for name in result.present] == golden.facts["present"]


def run_c_engine(program, library: str, golden: Golden, file: str) -> list[str]:
    """What examples/engines.c prints of the golden input."""
    words = [program, library, golden.folder / file, golden.folder / "input.bin", 24, 24]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("package", "pattern", "file"),
    [("ai_edge_litert", "libLiteRt.so", "model.tflite"), ("onnxruntime", "capi/libonnxruntime.so*", "model.onnx")],
)
def test_an_engine_opened_from_c_answers_within_the_stored_tolerance(
    tools, engines_program, golden, package, pattern, file
):
    if golden.head is not None:
        pytest.skip("only the core swaps heads")
    first, *lines = run_c_engine(engines_program, tools.package_library(package, pattern), golden, file)
    slack = golden.facts["other_engines_tolerance"] * max(1.0, float(np.abs(golden.scores).max()))
    labels = golden.facts["labels"]
    for line in lines:
        score, name = line.split(maxsplit=1)
        assert abs(float(score) - golden.scores[labels.index(name)]) <= slack
    assert ("none of these" in first) == golden.facts["rejected"]
