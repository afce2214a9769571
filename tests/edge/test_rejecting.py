"""compile --reject: the class "none of these" and what every reader and editor makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

import t2m_edge
from t2m_edge.cli.main import run
from t2m_edge.compiler import editing
from t2m_edge.compiler.rejecting import outside_classes, with_none
from t2m_edge.hypernetworks.class_vectors import name_prompt
from t2m_edge.packs import load_pack
from t2m_edge.packs.writing import write_pack
from t2m_edge.task import ClassDescription, Task
from t2m_runtime import Classifier, InputError, load_head, read_manifest, save_head
from t2m_runtime.manifest import NONE_LABEL

TASK = "zebra: black and white stripes\nmoose: broad antlers\nhorse\n"


@pytest.fixture(scope="module")
def banked_pack(tiny_pack, tmp_path_factory) -> Path:
    """The tiny pack with a bank of eleven classes, 600 images."""
    rng, names = np.random.default_rng(3), ["zebra", "dog", "cat", "bird", "fish", "apple", "pear", "banana", "tail"]
    pack = load_pack(tiny_pack)
    files = {name: pack.read(name) for name in pack.files}
    names += ["wings", "stem"]
    features = rng.integers(-60, 60, (600, pack.info.features)).astype(np.int8)
    files["bank.safetensors"] = save({"features": features, "labels": (np.arange(600) % 11).astype(np.int32)})
    files["bank.json"] = json.dumps(names).encode()
    mean = pack.text_encoder.encode([name_prompt(name) for name in names]).mean(0)
    files["hypernetwork/centres.safetensors"] = save({"name": mean, "text": pack.centres.text})
    facts = json.loads((Path(tiny_pack) / "pack.json").read_text())
    facts = {**facts, "independent_classes": True}
    facts.pop("files")
    folder = tmp_path_factory.mktemp("banked") / "pack"
    write_pack(folder, facts, files)
    return folder


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "animals.txt"
    path.write_text(TASK)
    return path


@pytest.mark.parametrize("target", ["tflite", "onnx"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_an_image_where_none_of_these_is_best_is_rejected(banked_pack, task, tmp_path, target, precision) -> None:
    path = tmp_path / f"m.{target}"
    report = t2m_edge.compile(task, path, pack=banked_pack, target=target, precision=precision, reject=0.3)
    manifest = read_manifest(path)
    assert manifest.labels == ("zebra", "moose", "horse", NONE_LABEL) and manifest.reject == 0.3
    assert report.rejection.rate == 0.3 and report.rejection.images >= 100
    with Classifier.load(path) as classifier:
        results = classifier.classify_many(load_pack(banked_pack).probes.images)
    assert all(r.rejected == (r.names[0] == NONE_LABEL) for r in results)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_the_asked_share_of_outside_images_gets_a_name(banked_pack, rate) -> None:
    pack = load_pack(banked_pack)
    z = np.random.default_rng(0).standard_normal((3, 2 * pack.text_encoder.d_text)).astype(np.float32)
    head = pack.head(("zebra", "moose", "cat"), z)
    rejecting, rejection = with_none(head, rate, pack)
    outside = np.isin(pack.bank.labels, outside_classes(head.labels, pack))
    best = rejecting.logits(pack.bank.real[outside]).argmax(1)
    assert np.mean(best != 3) == pytest.approx(rate, abs=0.02)
    assert rejection.classes == len(np.unique(pack.bank.labels[outside]))


def test_the_tasks_own_classes_are_not_outside(banked_pack) -> None:
    pack = load_pack(banked_pack)
    own = pack.bank.classes[0]
    assert 0 not in outside_classes((own, "moose"), pack)


def test_merge_says_that_none_of_these_is_gone_unless_the_head_brings_it(banked_pack, task, tmp_path, capsys) -> None:
    model, plain, rejecting, out = (tmp_path / n for n in ("m.tflite", "p.t2mh", "r.t2mh", "out.tflite"))
    t2m_edge.compile(task, model, pack=banked_pack, reject=0.2)
    t2m_edge.compile(task, plain, pack=banked_pack)
    t2m_edge.compile(task, rejecting, pack=banked_pack, reject=0.1)
    gone = f"'none of these' went with the model's old head, so images of other things get a class now; compile {plain}"
    assert run(["merge", str(model), str(plain), "-o", str(out)]) == 0
    said, err = capsys.readouterr()
    assert "3 classes, " in said
    assert err.startswith(f"warning: {gone} with --reject 0.2") and len(err.splitlines()) == 1
    assert run(["merge", str(model), str(plain), "-o", str(out), "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"][0].startswith(gone)
    assert run(["merge", str(model), str(rejecting), "-o", str(out), "--overwrite"]) == 0
    said, err = capsys.readouterr()
    assert "3 classes and 'none of these', " in said
    assert err == ""
    # Nor is there anything to say of a model that had none.
    t2m_edge.compile(task, model, pack=banked_pack, overwrite=True)
    assert run(["merge", str(model), str(plain), "-o", str(out), "--overwrite"]) == 0
    assert capsys.readouterr().err == ""


def test_editing_keeps_its_meaning_or_refuses(banked_pack, task, tmp_path, capsys) -> None:
    model, plain, more = (tmp_path / n for n in ("m.tflite", "p.tflite", "h.t2mh"))
    t2m_edge.compile(task, model, pack=banked_pack, reject=0.2)
    editing.remove(model, [NONE_LABEL], plain)
    assert read_manifest(plain).reject is None and NONE_LABEL not in read_manifest(plain).labels
    fewer = editing.remove(model, ["moose"], tmp_path / "fewer.tflite")
    assert "stays as it was set for 3 classes and may reject more than 2 need" in fewer.warnings[0]
    assert read_manifest(tmp_path / "fewer.tflite").reject == 0.2
    with pytest.raises(InputError, match="its name is fixed"):
        editing.rename(model, NONE_LABEL, "other", tmp_path / "x.tflite")
    assert run(["inspect", str(model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == ["3", "none", "of", "these", "rejects"]
    assert "3 classes and 'none of these', " in lines[0]
    assert run(["rename", str(model), "moose", "elk", "-o", str(tmp_path / "elk.tflite")]) == 0
    assert "3 classes and 'none of these', " in capsys.readouterr().out
    other = tmp_path / "other.txt"
    other.write_text("cat\ndog\n")
    t2m_edge.compile(other, more, pack=banked_pack, target="head")
    with pytest.raises(InputError, match="compile all classes with --reject"):
        editing.add(model, more, tmp_path / "x.tflite")


@pytest.mark.parametrize("rate", [0.0, 1.0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(banked_pack, task, tmp_path, rate) -> None:
    with pytest.raises(InputError, match="share between 0 and 1"):
        t2m_edge.compile(task, tmp_path / "m.tflite", pack=banked_pack, reject=rate)
    assert not (tmp_path / "m.tflite").exists()


@pytest.mark.parametrize("name", [NONE_LABEL, "None of-these"])
@pytest.mark.parametrize("options", [{}, {"reject": 0.05}, {"multi_label": True}])
def test_a_class_of_that_name_is_refused(banked_pack, tmp_path, name, options) -> None:
    path = tmp_path / "t.txt"
    path.write_text(f"cat\n{name}: a photo of a fish\n")
    with pytest.raises(InputError, match=f"t.txt, line 2, column 1: found '{name}' as a class name; choose another"):
        t2m_edge.compile(path, tmp_path / "m.tflite", pack=banked_pack, **options)
    task = Task("t", (ClassDescription("cat"), ClassDescription(name)))
    with pytest.raises(InputError, match=f"t: found '{name}' as a class name; choose another"):
        t2m_edge.compile(task, tmp_path / "m.tflite", pack=banked_pack, **options)
    assert not (tmp_path / "m.tflite").exists()


def test_no_edit_brings_a_class_of_that_name(banked_pack, task, tmp_path, capsys) -> None:
    model, more, out = (tmp_path / n for n in ("m.tflite", "h.t2mh", "x.tflite"))
    t2m_edge.compile(task, model, pack=banked_pack)
    assert run(["rename", str(model), "moose", "none of these", "-o", str(out)]) == 2
    err = capsys.readouterr().err
    assert "found 'none of these' as a class name; choose another" in err and len(err.splitlines()) == 1
    t2m_edge.compile(
        Task("two", (ClassDescription("cat"), ClassDescription("dog"))), more, pack=banked_pack, target="head"
    )
    head, facts = load_head(more)
    labels = ("cat", NONE_LABEL)
    more.write_bytes(save_head(replace(head, labels=labels), replace(facts, labels=labels)))
    assert run(["add", str(model), str(more), "-o", str(out)]) == 2
    assert f"{more}: found 'none of these' as a class name" in capsys.readouterr().err
    assert not out.exists()


def test_outside_a_task_of_like_things_are_like_things(banked_pack) -> None:
    pack = load_pack("default")
    fruit = {pack.bank.classes[i] for i in outside_classes(("mandarin", "satsuma", "orange", "lime"), pack)}
    mixed = {pack.bank.classes[i] for i in outside_classes(("mandarin", "tractor", "wolf", "castle"), pack)}
    assert len(fruit) < len(mixed) / 2 and "Lemon" in fruit and "Banana" in fruit and "rocket" not in fruit
