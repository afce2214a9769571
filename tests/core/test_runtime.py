"""The runtime's own doings on the core: frames, streams, heads that are swapped, threads, wheels."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import zipfile

import numpy as np
import pytest

from t2m_runtime import Backbone, Classifier
from t2m_runtime.errors import InputError
from t2m_runtime.frames import Frame

RNG = np.random.default_rng(5)


@pytest.fixture
def with_core(library, monkeypatch):
    monkeypatch.setenv("T2M_CORE_LIBRARY", library._name)


def frames(count: int) -> list[Frame]:
    """NV21 frames of 64 x 48."""
    return [
        Frame("nv21", 64, 48, (RNG.integers(0, 256, 64 * 48, np.uint8), RNG.integers(0, 256, 64 * 24, np.uint8)))
        for _ in range(count)
    ]


def test_a_stream_of_frames_is_answered_as_it_comes_and_equally_on_every_engine(with_core, compiled):
    shown = frames(4)
    with Classifier.load(compiled["int8"], engine="core") as core:
        results = core.stream(iter(shown), top_k=2)
        first = next(results)
        found = [first, *results]
    with Classifier.load(compiled["int8"], engine="litert-reference") as reference:
        expected = reference.classify_many(shown, top_k=2)
    assert [result.names for result in found] == [result.names for result in expected]
    np.testing.assert_allclose([r.scores for r in found], [r.scores for r in expected], rtol=2e-6)


def test_a_swapped_head_brings_its_labels_also_where_it_is_larger(with_core, tools, compiled):
    image = RNG.integers(0, 256, (96, 96, 3), np.uint8)
    with Classifier.load(compiled["int8"], engine="core") as classifier:
        for k, hidden in ((3, 0), (40, 0), (5, 33), (3, 0)):
            classifier.swap_head(tools.head_file(compiled["int8"], k, hidden))
            result = classifier.classify(image)
            assert set(result.names) == set(classifier.labels)
            assert len(result.names) == k
        before = classifier.classify(image)
        with pytest.raises(InputError):
            classifier.swap_head(tools.head_file(compiled["int8"], 4, backbone_sha256="c" * 64))
        assert classifier.classify(image) == before


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_heads_on_the_cores_backbone_score_like_heads_that_are_swapped(with_core, tools, compiled, precision):
    image = RNG.integers(0, 256, (96, 96, 3), np.uint8)
    head = tools.head_file(compiled[precision], 5)
    with (
        Backbone.load(compiled[precision], engine="core") as backbone,
        Classifier.load(compiled[precision], engine="core") as classifier,
    ):
        on_backbone = backbone.with_head(head)
        classifier.swap_head(head)
        assert on_backbone.labels == classifier.labels
        np.testing.assert_allclose(on_backbone.scores(image), classifier.scores(image), atol=2e-6)


def test_a_swap_of_what_is_no_head_names_the_file(with_core, compiled, tmp_path):
    (tmp_path / "photo.png").write_bytes(b"not a head")
    with (
        Classifier.load(compiled["int8"], engine="core") as classifier,
        pytest.raises(InputError, match=r"photo\.png is not a head file"),
    ):
        classifier.swap_head(tmp_path / "photo.png")


def test_other_engines_say_what_to_take_for_a_swap(tools, compiled):
    with (
        Classifier.load(compiled["int8"], engine="litert") as classifier,
        pytest.raises(InputError, match="with_head"),
    ):
        classifier.swap_head(tools.head_file(compiled["int8"], 4))


def test_answers_stay_whole_while_another_thread_swaps_heads(with_core, tools, compiled):
    heads = [tools.head_file(compiled["int8"], k, seed=k) for k in (3, 7)]
    image, sizes, failures = RNG.integers(0, 256, (96, 96, 3), np.uint8), set(), []
    with Classifier.load(compiled["int8"], engine="core") as classifier:

        def ask() -> None:
            try:
                for _ in range(30):
                    sizes.add(len(classifier.classify(image).names))
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        [thread.start() for thread in threads]
        for index in range(30):
            classifier.swap_head(heads[index % 2])
        [thread.join() for thread in threads]
    assert not failures
    assert sizes <= {10, 3, 7}


@pytest.mark.slow
def test_a_wheel_with_the_core_runs_a_model_with_no_other_engine(tools, compiled, tmp_path):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    package = tools.CORE.parent / "python"
    for compiler, expected in (("gcc", "manylinux2014_"), (None, "any")):
        done = subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path / expected), str(package)],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), **({"T2M_CORE_CC": compiler} if compiler else {})},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        (wheel,) = (tmp_path / expected).iterdir()
        assert expected in wheel.name
        with zipfile.ZipFile(wheel) as archive:
            assert ("t2m_runtime/t2m_core.so" in archive.namelist()) == (compiler is not None)
            if compiler:
                archive.extractall(tmp_path / "unpacked")
    (tmp_path / "model.tflite").write_bytes(compiled["int8"])
    shown = "from t2m_runtime import Classifier; print(Classifier.load('model.tflite', engine='core').engine.name)"
    done = subprocess.run(
        [sys.executable, "-c", shown],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "unpacked"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "core\n", done.stderr
