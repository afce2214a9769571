"""LiteRT and ONNX Runtime from C: the libraries inside the Python packages, opened at run time."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import t2m_edge
from t2m_runtime import Classifier

GROCERY = Path(__file__).parents[2] / "examples" / "grocery.txt"


@pytest.fixture(scope="module")
def program(tools, tmp_path_factory):
    """The example on engines."""
    engines = tools.CORE / "engines"
    return tools.build(
        tmp_path_factory.mktemp("engines") / "engines",
        *("-std=c11", f"-I{engines}", str(tools.CORE / "examples" / "engines.c")),
        *(str(path) for path in sorted(engines.glob("*.c"))),
        "-ldl",
    )


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "picture.rgb"
    path.write_bytes(np.random.default_rng(1).integers(0, 256, (96, 96, 3), np.uint8).tobytes())
    return path


def library(package: str, pattern: str) -> str:
    """A shared library inside a Python package."""
    found = find_spec(package)
    files = sorted(Path(found.origin).parent.glob(pattern)) if found else []
    if not files:
        pytest.skip(f"{package} has no {pattern} here")
    return str(files[0])


def run(*words: object) -> tuple[int, list[str], str]:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.mark.parametrize(
    ("package", "pattern", "target", "precision"),
    [
        ("ai_edge_litert", "libLiteRt.so", "tflite", "int8"),
        ("ai_edge_litert", "libLiteRt.so", "tflite", "fp16"),
        ("onnxruntime", "capi/libonnxruntime.so*", "onnx", "int8"),
        ("onnxruntime", "capi/libonnxruntime.so*", "onnx", "fp32"),
    ],
)
def test_an_engine_from_c_answers_as_it_does_from_python(
    program, picture, tmp_path, package, pattern, target, precision
):
    model = tmp_path / f"model.{target}"
    t2m_edge.compile(GROCERY, model, target=target, precision=precision)
    code, lines, errors = run(program, library(package, pattern), model, picture, 96, 96)
    assert code == 0, errors
    image = np.frombuffer(picture.read_bytes(), np.uint8).reshape(96, 96, 3)
    with Classifier.load(model) as classifier:
        expected = classifier.classify(image, 3)
    assert [line.split(maxsplit=1)[1] for line in lines[1:]] == list(expected.names)
    np.testing.assert_allclose([float(line.split()[0]) for line in lines[1:]], expected.scores, atol=2e-3)


def test_what_is_no_engine_is_refused_in_one_line(program, picture, tmp_path):
    model = tmp_path / "model.onnx"
    t2m_edge.compile(GROCERY, model, target="onnx")
    onnxruntime = library("onnxruntime", "capi/libonnxruntime.so*")
    (tmp_path / "broken.onnx").write_bytes(model.read_bytes()[:5000])
    (tmp_path / "other.tflite").write_bytes(b"\x10\0\0\0TFL3" + b"\0" * 64)
    for words, expected in (
        (("no-such-library.so", model), "cannot open the library"),
        ((library("numpy", "_core/_multiarray_umath*.so"), model), "cannot open|not a library of ONNX Runtime"),
        ((onnxruntime, tmp_path / "other.tflite"), "not a LiteRT that is known"),
        ((onnxruntime, tmp_path / "broken.onnx"), "ONNX Runtime"),
    ):
        code, _, errors = run(program, *words, picture, 96, 96)
        assert code == 2
        assert any(part in errors for part in expected.split("|")), errors
        assert errors.count("\n") == 1, errors
