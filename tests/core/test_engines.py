"""LiteRT and ONNX Runtime from C: the libraries inside the Python packages, opened at run time."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import t2m_edge
from t2m_runtime import Classifier

LITERT = ("ai_edge_litert", "libLiteRt.so", "tflite")
ONNXRUNTIME = ("onnxruntime", "capi/libonnxruntime.so*", "onnx")
GROCERY = Path(__file__).parents[2] / "examples" / "grocery.txt"


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "picture.rgb"
    path.write_bytes(np.random.default_rng(1).integers(0, 256, (96, 96, 3), np.uint8).tobytes())
    return path


def run(*words: object) -> tuple[int, list[str], str]:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize(
    ("package", "pattern", "target", "options"),
    [
        (*LITERT, {"precision": "int8"}),
        (*LITERT, {"precision": "fp16"}),
        (*LITERT, {"output_type": "uint8"}),
        (*LITERT, {"output_type": "int8", "scores": "logits"}),
        (*LITERT, {"multi_label": True}),
        (*ONNXRUNTIME, {"precision": "int8"}),
        (*ONNXRUNTIME, {"precision": "fp32"}),
        (*ONNXRUNTIME, {"output_type": "uint8"}),
        (*ONNXRUNTIME, {"output_type": "int8", "scores": "logits"}),
        (*ONNXRUNTIME, {"multi_label": True}),
    ],
)
def test_an_engine_from_c_answers_as_it_does_from_python(
    tools, engines_program, picture, tmp_path, package, pattern, target, options
):
    model = tmp_path / f"model.{target}"
    t2m_edge.compile(GROCERY, model, target=target, **options)
    code, lines, errors = run(engines_program, tools.package_library(package, pattern), model, picture, 96, 96)
    assert code == 0, errors
    image = np.frombuffer(picture.read_bytes(), np.uint8).reshape(96, 96, 3)
    with Classifier.load(model) as classifier:
        expected = classifier.classify(image, 3)
    assert [line.split(maxsplit=1)[1] for line in lines[1:]] == list(expected.names)
    np.testing.assert_allclose([float(line.split()[0]) for line in lines[1:]], expected.scores, atol=2e-3)


def test_what_is_no_engine_is_refused_in_one_line(tools, engines_program, picture, tmp_path):
    model = tmp_path / "model.onnx"
    t2m_edge.compile(GROCERY, model, target="onnx")
    onnxruntime = tools.package_library(*ONNXRUNTIME[:2])
    (tmp_path / "broken.onnx").write_bytes(model.read_bytes()[:5000])
    (tmp_path / "other.tflite").write_bytes(b"\x10\0\0\0TFL3" + b"\0" * 64)
    for words, expected in (
        (("no-such-library.so", model), "cannot open the library"),
        (
            (tools.package_library("numpy", "_core/_multiarray_umath*.so"), model),
            "cannot open|not a library of ONNX Runtime",
        ),
        ((onnxruntime, tmp_path / "other.tflite"), "not a LiteRT that is known"),
        ((onnxruntime, tmp_path / "broken.onnx"), "ONNX Runtime"),
    ):
        code, _, errors = run(engines_program, *words, picture, 96, 96)
        assert code == 2
        assert any(part in errors for part in expected.split("|")), errors
        assert errors.count("\n") == 1, errors
