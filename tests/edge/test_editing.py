"""merge, add, remove, rename: the changed artifact is the one that compile would have written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import t2m_edge
from t2m_edge.compiler.editing import add, merge, remove, rename
from t2m_edge.compiler.verifying import verify_head
from t2m_edge.packs import Pack, load_pack
from t2m_edge.packs.store import PackStore
from t2m_exporters.heads import backbone_of, read_head
from t2m_runtime import Classifier, Head, InputError, load_head, read_manifest, save_head
from t2m_runtime.artifact import kind_of

ANIMALS = "zebra: a large horse with black and white stripes\nmoose: a large deer with broad antlers\ncat: small, fur\n"
FRUITS = "apple: round red fruit\nbanana: long yellow fruit\n"
CELLS = [(t, p) for t in ("tflite", "onnx") for p in ("int8", "fp32", "fp16", "int8-dynamic")]


@pytest.fixture(scope="module")
def independent(tiny_pack) -> Pack:
    """The tiny pack, which makes each class by itself, and says so."""
    pack = Pack(PackStore(tiny_pack))
    pack.info = replace(pack.info, independent=True)
    return pack


@pytest.fixture(scope="module")
def made(independent, tmp_path_factory):
    """(text, target, precision) -> path of the artifact, compiled once."""
    folder, found = tmp_path_factory.mktemp("made"), {}

    def make(text: str, target: str, precision: str = "int8", **options) -> Path:
        key = (text, target, precision, *options.items())
        if key not in found:
            task = folder / f"task{len(found)}.txt"
            task.write_text(text)
            ending = {"head": "t2mh"}.get(target, target)
            options.setdefault("min_agreement", 0)
            path = folder / f"{len(found)}.{ending}"
            t2m_edge.compile(task, path, pack=independent, target=target, precision=precision, **options)
            found[key] = path
        return found[key]

    return make


@pytest.fixture(scope="module")
def images(tiny_pack):
    return load_pack(tiny_pack).probes.images


def scores(path: Path, images: np.ndarray) -> np.ndarray:
    with Classifier.load(path) as classifier:
        return np.stack([classifier.scores(image) for image in images])


def head_precision(precision: str) -> str:
    return "int8" if precision == "int8" else "fp32"


@pytest.mark.parametrize("target, precision", CELLS)
def test_a_merged_head_gives_what_compile_would_have_written(made, images, tmp_path, target, precision):
    head = made(FRUITS, "head", head_precision(precision))
    report = merge(made(ANIMALS, target, precision), head, tmp_path / f"m.{target}")
    assert report.labels == ("apple", "banana")
    wanted = made(FRUITS, target, precision)
    np.testing.assert_allclose(scores(Path(report.output), images), scores(wanted, images), atol=1e-6)
    assert read_manifest(report.output).labels == read_manifest(wanted).labels


def test_a_merged_model_says_the_same_of_itself(made, tmp_path):
    merged = tmp_path / "m.tflite"
    merge(made(ANIMALS, "tflite"), made(FRUITS, "head"), merged)
    wanted, found = read_manifest(made(FRUITS, "tflite")), read_manifest(merged)
    assert replace(found, name=wanted.name, self_test=wanted.self_test) == wanted


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_the_backbone_inside_a_model_is_the_packs(made, tiny_pack, target):
    stored = load_pack(tiny_pack).backbone(target, "int8")
    found = backbone_of(made(ANIMALS, target).read_bytes(), target)
    if target == "tflite":
        assert found == stored
    else:
        import onnx

        a, b = (onnx.load_from_string(data) for data in (found, stored))
        assert a.graph.node == b.graph.node and a.graph.initializer == b.graph.initializer
        assert [o.name for o in a.graph.output] == [o.name for o in b.graph.output]


@pytest.mark.parametrize("target, precision", CELLS)
def test_removing_a_class_leaves_the_others_logits(made, images, tmp_path, target, precision):
    model = made(ANIMALS, target, precision, scores="logits")
    report = remove(model, ["moose"], tmp_path / f"r.{target}")
    assert report.labels == ("zebra", "cat")
    before, after = scores(model, images), scores(Path(report.output), images)
    # int8-dynamic has one scale for all rows of a tflite head, which goes with the largest one.
    close = 0.02 * np.abs(before).max() if precision == "int8-dynamic" else 1e-6
    np.testing.assert_allclose(after, before[:, [0, 2]], atol=close)


@pytest.mark.parametrize("target, precision", CELLS)
def test_added_classes_score_as_in_one_task(made, images, tmp_path, target, precision):
    report = add(
        made(ANIMALS, target, precision),
        made(FRUITS, "head", head_precision(precision)),
        tmp_path / f"a.{target}",
        classes=["banana"],
    )
    assert report.labels == ("zebra", "moose", "cat", "banana")
    wanted = scores(made(ANIMALS + FRUITS.splitlines()[1] + "\n", target, precision), images)
    np.testing.assert_allclose(scores(Path(report.output), images), wanted, atol=0.03)


def test_head_files_are_edited_too_and_keep_a_right_self_test(made, independent, tmp_path):
    both = tmp_path / "both.t2mh"
    add(made(ANIMALS, "head"), made(FRUITS, "head"), both)
    less = tmp_path / "less.t2mh"
    remove(both, ["cat", "apple"], less)
    named = tmp_path / "named.t2mh"
    rename(less, "moose", "elk", named)
    assert load_head(named)[0].labels == ("zebra", "elk", "banana")
    for path in (both, less, named):
        error, tolerance = verify_head(path, independent)
        assert error <= tolerance


def test_renaming_changes_the_name_alone(made, images, tmp_path):
    model, out = made(ANIMALS, "tflite"), tmp_path / "n.tflite"
    rename(model, "moose", "Elch", out)
    assert read_manifest(out).labels == ("zebra", "Elch", "cat")
    np.testing.assert_array_equal(scores(out, images), scores(model, images))
    assert b"Elch" in out.read_bytes() and b"moose" not in out.read_bytes()


@pytest.mark.parametrize("target, precision", CELLS)
def test_the_head_inside_a_model_is_the_one_that_was_written(made, target, precision):
    model = made(ANIMALS, target, precision).read_bytes()
    found = read_head(model, kind_of(model), read_manifest(model))
    written, _ = load_head(made(ANIMALS, "head", head_precision(precision)))
    for a, b in zip(found.layers, written.layers, strict=True):
        atol = {"fp16": 2e-3, "int8-dynamic": 0.02}.get(precision, 0)
        np.testing.assert_allclose(a.weight, b.weight, atol=atol)
        np.testing.assert_allclose(a.bias, b.bias, atol=atol)


def test_what_cannot_be_done_is_one_line_and_no_file(made, tmp_path, tiny_pack):
    model, head, out = made(ANIMALS, "tflite"), made(FRUITS, "head"), tmp_path / "x.tflite"
    other, facts = load_head(head)
    foreign = tmp_path / "foreign.t2mh"
    foreign.write_bytes(save_head(other, replace(facts, backbone_sha256="a" * 64)))
    more = tmp_path / "more.t2mh"
    three, facts3 = load_head(made(FRUITS + "pear\n", "head"))
    more.write_bytes(save_head(three, replace(facts3, independent=False)))
    together = tmp_path / "together.t2mh"
    together.write_bytes(save_head(other, replace(facts, independent=False)))
    cases = [
        (lambda: merge(model, foreign, out), "another backbone"),
        (lambda: merge(model, made(FRUITS, "head", "fp32"), out), "is a float head and the model is int8"),
        (lambda: merge(head, head, out), "give the full model first"),
        (lambda: merge(model, model, out), "not a head file"),
        (lambda: remove(model, ["mose"], out), "did you mean 'moose'"),
        (lambda: remove(model, ["moose", "cat"], out), "a classifier needs two"),
        (lambda: remove(more, ["pear"], out), "makes the classes of a task together"),
        (lambda: add(model, together, out), "makes the classes of a task together"),
        (lambda: add(head, head, out), "is there already"),
        (lambda: rename(model, "cat", "zebra", out), "is there already"),
        (lambda: rename(model, "cat", "a\nb", out), "the new name 'a.*b' has a line end or another control character"),
        (lambda: rename(model, "cat", "", out), "the new name is empty"),
        (lambda: rename(model, "cat", " dog", out), "the new name ' dog' has space around it"),
        (lambda: rename(model, "cat", "x" * 300, out), "the new name has 300 characters"),
        (lambda: rename(model, "cat", "cat", out), "the class is called 'cat' already"),
        (lambda: remove(model, ["MOOSE"], out), f"{model} has no class 'MOOSE'; did you mean 'moose'"),
        (lambda: add(model, head, out, classes=["cat"]), f"{head} has no class 'cat'"),
        (lambda: rename(model, "cat", "dog", model), "--overwrite"),
        (lambda: rename(model, "cat", "dog", tmp_path / "x.onnx"), "name it .*x.tflite"),
        (lambda: rename(head, "apple", "dog", out), "name it .*x.t2mh"),
        (lambda: rename(model, "cat", "dog", tmp_path / "x.json"), "name it .*x.tflite"),
        (lambda: merge(model, head, head, overwrite=True), "is what this reads"),
        (lambda: add(model, head, head, overwrite=True), "is what this reads"),
        (lambda: verify_head(head, replace_pack(tiny_pack, tmp_path)), "not by tiny 0.0.2"),
    ]
    for act, message in cases:
        with pytest.raises(InputError, match=message):
            act()
    assert not out.exists()


@pytest.mark.parametrize("target", ["tflite", "onnx", "head"])
def test_a_file_that_is_cut_short_is_named(made, tmp_path, target):
    data = made(FRUITS, target).read_bytes()
    cut = tmp_path / "cut.bin"
    for size in (len(data) // 2, len(data) - 1):
        cut.write_bytes(data[:size])
        with pytest.raises(InputError, match=f"^{cut}"):
            rename(cut, "apple", "pear", tmp_path / "x.bin")


def test_a_model_may_be_changed_in_place(made, tmp_path):
    model = tmp_path / "m.tflite"
    model.write_bytes(made(ANIMALS, "tflite").read_bytes())
    rename(model, "cat", "dog", model, overwrite=True)
    assert read_manifest(model).labels == ("zebra", "moose", "dog")


def replace_pack(tiny_pack: Path, folder: Path) -> Path:
    """Another version of the tiny pack."""
    import shutil

    path = folder / "other"
    if not path.exists():
        shutil.copytree(tiny_pack, path)
        index = path / "pack.json"
        index.write_text(index.read_text().replace("0.0.1", "0.0.2"))
    return path


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_head_file_of_ten_classes_is_as_small_as_its_numbers_and_1024_bytes(made, precision):
    text = "".join(f"class number {i}: a red animal with {i} stripes\n" for i in range(10))
    path = made(text, "head", precision)
    head, manifest = load_head(path)
    numbers = sum(
        part.nbytes
        for layer in head.layers
        for part in (layer.weight, layer.bias, *(() if isinstance(head, Head) else (layer.weight_scale,)))
    )
    assert path.stat().st_size <= numbers + sum(len(label.encode()) for label in manifest.labels) + 1024
