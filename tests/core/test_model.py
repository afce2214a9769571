"""Compiled models on the core: scores, labels, thresholds, heads that come and go."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

import t2m_edge
from t2m_runtime import Classifier, prepare
from t2m_runtime.arena import Room
from t2m_runtime.artifact import manifest_of
from t2m_runtime.core import CoreError, CoreModel
from t2m_runtime.frames import Frame
from t2m_runtime.head_file import read_head_file

GROCERY = Path(__file__).parents[2] / "examples" / "grocery.txt"
RNG = np.random.default_rng(3)
IMAGES = [RNG.integers(0, 256, (96, 96, 3), np.uint8), np.full((96, 96, 3), 7, np.uint8)]


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_scores_are_those_of_litert_reference_kernels(library, tools, compiled, precision):
    model = compiled[precision]
    with CoreModel(model, library=library) as core:
        for image in IMAGES:
            expected = tools.litert_reference(model, image)
            np.testing.assert_allclose(core.run(image), expected, rtol=2e-6, atol=1e-12)
            np.testing.assert_array_equal(core.scores(), core.run(image))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("output_type", ["uint8", "int8"])
def test_a_model_with_integer_scores_gives_the_same_float_ones(library, compiled, tmp_path, precision, output_type):
    path = tmp_path / "model.tflite"
    t2m_edge.compile(GROCERY, path, precision=precision, output_type=output_type)
    with CoreModel(path.read_bytes(), library=library) as core, CoreModel(compiled[precision], library=library) as same:
        np.testing.assert_array_equal(core.run(IMAGES[0]), same.run(IMAGES[0]))


@pytest.mark.parametrize("precision", ["fp16", "int8-dynamic"])
def test_precisions_that_it_does_not_run_are_refused_by_name(library, tmp_path, precision):
    path = tmp_path / "model.tflite"
    t2m_edge.compile(GROCERY, path, precision=precision)
    with refused("PRECISION"):
        CoreModel(path.read_bytes(), library=library)


def test_int8_features_are_bit_equal_to_litert_reference_kernels(library, tools, compiled):
    for name in tools.kernel_names(library):
        with CoreModel(compiled["int8"], library=library, kernels=name) as core:
            for image in IMAGES:
                core.run(image)
                np.testing.assert_array_equal(
                    core.features(), tools.litert_reference(compiled["int8"], image, "features"), err_msg=name
                )


def test_labels_order_and_rejection_are_those_of_the_python_runtime(library, compiled):
    model = compiled["int8"]
    with CoreModel(model, library=library) as core, Classifier.load(model, engine="litert-reference") as python:
        assert core.labels == python.labels
        for image in IMAGES:
            core.prepare(Frame("rgb", 96, 96, (image,)))
            core.run()
            expected = python.classify(image, 3)
            top, rejected = core.top(3)
            assert tuple(core.labels[index] for index, _ in top) == expected.names
            assert rejected == expected.rejected
            np.testing.assert_allclose([score for _, score in top], expected.scores, rtol=2e-6)


def test_more_classes_than_there_are_gives_all_in_stable_order(library, compiled):
    with CoreModel(compiled["int8"], library=library) as core:
        scores = core.run(IMAGES[0])
        top, _ = core.top(50)
        assert [index for index, _ in top] == list(np.argsort(-scores, kind="stable"))


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize(("k", "hidden"), [(1, 0), (7, 0), (40, 0), (5, 33)])
def test_a_head_file_gives_what_python_computes(library, tools, compiled, precision, k, hidden):
    data = tools.head_file(compiled[precision], k, hidden)
    head, manifest = read_head_file(data)
    with CoreModel(compiled[precision], Room(labels=k, hidden=hidden), library=library) as core:
        own = core.run(IMAGES[0])
        core.swap_head(data)
        assert core.labels == head.labels
        scores, features = core.run(IMAGES[0]), core.features()
        logits = head.logits(features[None])[0].astype(np.float64)
        expected = np.exp(logits - logits.max())
        # In float the sums are in another order: 2e-6 of the largest logit.
        slack = 2e-6 if precision == "int8" else 2e-5
        np.testing.assert_allclose(scores, expected / expected.sum(), rtol=slack, atol=1e-7)
        (best, score), *_ = core.top(1)[0]
        threshold = manifest.thresholds[best]
        assert core.top(1)[1] == (threshold is not None and score < threshold)
        core.swap_head(None)
        np.testing.assert_array_equal(core.run(IMAGES[0]), own)
        assert core.labels == manifest_of(compiled[precision], "model").labels


def test_a_threshold_equal_to_the_score_does_not_reject(library, tools, compiled):
    with CoreModel(compiled["int8"], library=library) as core:
        for seed in range(20):
            core.swap_head(tools.head_file(compiled["int8"], 4, seed=seed))
            score = float(core.run(IMAGES[0]).max())
            for threshold, rejected in (
                (score, False),
                (np.nextafter(score, 2.0), True),
                (np.nextafter(score, 0), False),
            ):
                core.swap_head(tools.head_file(compiled["int8"], 4, seed=seed, thresholds=(float(threshold),) * 4))
                core.run(IMAGES[0])
                assert core.top(1)[1] is rejected


def test_a_backbone_runs_with_a_head_that_is_swapped_in(library, tools, compiled):
    backbone = tools.CORE.parents[1] / "t2m_edge" / "packs" / "default" / "backbone" / "int8.tflite"
    head = tools.head_file(compiled["int8"], 4)
    with CoreModel(backbone.read_bytes(), Room(labels=4), library=library) as core:
        with pytest.raises(CoreError, match="head"):
            core.run(IMAGES[0])
        core.swap_head(head)
        with CoreModel(compiled["int8"], Room(labels=4), library=library) as whole:
            whole.swap_head(head)
            np.testing.assert_array_equal(core.run(IMAGES[0]), whole.run(IMAGES[0]))


def without_manifest() -> bytes:
    header = b'{"layer0.weight":{"dtype":"I8","shape":[1,1],"data_offsets":[0,1]}}'
    return len(header).to_bytes(8, "little") + header + b"x"


def refused(status: str):
    return pytest.raises(CoreError, check=lambda error: error.status == f"T2M_ERROR_{status}")


def test_heads_that_do_not_fit_are_refused_and_the_current_one_stays(library, tools, compiled):
    model = compiled["int8"]
    with CoreModel(model, library=library) as core:
        before = core.run(IMAGES[0])
        manifest = manifest_of(model, "model")
        for status, data in {
            "HEAD_MISMATCH": tools.head_file(model, 4, backbone_sha256="c" * 64),
            "HEAD_TOO_LARGE": tools.head_file(model, len(manifest.labels) + 1),
            "BROKEN_HEAD": b"\0" * 64,
            "NO_MANIFEST": without_manifest(),
        }.items():
            with refused(status):
                core.swap_head(data)
        with refused("HEAD_MISMATCH"):
            core.swap_head(tools.head_file(compiled["fp32"], 4))
        with refused("HEAD_TOO_LARGE"):
            core.swap_head(tools.head_file(model, 4, 8))
        np.testing.assert_array_equal(core.run(IMAGES[0]), before)


def test_files_that_are_not_ours_are_refused(library, tools, compiled):
    tampered = compiled["int8"].replace(b'"schema_version":1', b'"schema_version":9')
    for status, data in {
        "NOT_A_MODEL": b"\0" * 64,
        "BROKEN_MODEL": compiled["int8"][:4096],
        "BROKEN_MANIFEST": tampered,  # its CRC no longer fits
        "NO_MANIFEST": compiled["int8"][: compiled["int8"].rindex(b"PK\5\6")],
    }.items():
        with refused(status):
            CoreModel(data, library=library)


def test_scores_are_asked_for_only_after_a_run(library, compiled):
    with CoreModel(compiled["int8"], library=library) as core:
        with refused("NOT_RUN"):
            core.top(1)
        core.run(IMAGES[0])
        core.prepare(Frame("rgb", 96, 96, (IMAGES[0],)))
        with refused("NOT_RUN"):
            core.scores()


def test_a_frame_larger_than_the_room_is_refused(library, compiled):
    frame = Frame("gray", 6000, 6001, (np.zeros((6001, 6000), np.uint8),))
    with CoreModel(compiled["int8"], library=library) as core, refused("FRAME_TOO_LARGE"):
        core.prepare(frame)
    with CoreModel(compiled["int8"], Room(frame_side=6000), library=library) as core:
        core.prepare(frame)


def test_two_models_in_two_threads_do_not_disturb_each_other(library, compiled):
    found: dict[int, list[np.ndarray]] = {}

    def work(index: int) -> None:
        with CoreModel(compiled["int8"], library=library) as core:
            found[index] = [core.run(IMAGES[index]) for _ in range(5)]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    with CoreModel(compiled["int8"], library=library) as core:
        for index in range(2):
            expected = core.run(IMAGES[index])
            assert all(np.array_equal(scores, expected) for scores in found[index])


def test_a_closed_model_says_so(library, compiled):
    core = CoreModel(compiled["int8"], library=library)
    core.close()
    with pytest.raises(ValueError, match="closed"):
        core.run(IMAGES[0])


def test_prepare_of_a_photo_is_that_of_python(library, compiled):
    photo = RNG.integers(0, 256, (301, 403, 3), np.uint8)
    with CoreModel(compiled["int8"], library=library) as core:
        np.testing.assert_array_equal(core.prepare(Frame("rgb", 403, 301, (photo,))), prepare(photo, 96, 96))
