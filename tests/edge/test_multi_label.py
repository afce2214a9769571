"""compile --multi-label: each description by itself, all the way into the files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2m_edge.cli.main import run
from t2m_edge.compiler.compiling import compile
from t2m_edge.compiler.editing import add, merge, remove
from t2m_edge.compiler.multi_label import with_levels
from t2m_edge.packs import load_pack
from t2m_runtime import Classifier, Head, Layer
from t2m_runtime.__main__ import main as runtime_main
from t2m_runtime.errors import InputError

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "attributes.txt"
    path.write_text("fur: an animal with fur\nstripes: black stripes; threshold: 0.9\nround: a round fruit\n")
    return path


def test_levels_come_from_the_bank_and_keep_the_order_of_the_images():
    rng = np.random.default_rng(1)
    head = Head(("a", "b"), (Layer(rng.normal(size=(2, 5)).astype(np.float32), np.float32([3, -8])),))
    bank = rng.normal(size=(500, 5)).astype(np.float32)
    before, after = head.logits(bank), with_levels(head, bank).logits(bank)
    np.testing.assert_array_equal(before.argsort(0), after.argsort(0))
    assert ((after > 0).mean(0) > 0.1).all()
    assert ((after > 0).mean(0) < 0.25).all()


@pytest.mark.parametrize("target", ["tflite", "onnx"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_scores_are_one_sigmoid_a_class(target, precision, task, tmp_path, tiny_pack):
    out = tmp_path / f"m.{target}"
    compile(task, out, pack=tiny_pack, target=target, precision=precision, multi_label=True, min_agreement=0)
    pack = load_pack(tiny_pack)
    with Classifier.load(out) as classifier:
        assert classifier.manifest.output.scores == "sigmoid"
        found = classifier.scores(pack.probes.images[0])
        result = classifier.classify(IMAGE)
        assert classifier.self_test() < 0.1 if classifier.manifest.self_test else True
    assert ((found > 0) & (found < 1)).all()
    assert found.sum() != pytest.approx(1, abs=1e-3)
    scores = dict(zip(result.names, result.scores))
    limits = {"fur": 0.5, "stripes": 0.9, "round": 0.5}
    assert set(result.present) == {name for name, score in scores.items() if score >= limits[name]}
    assert result.rejected == (not result.present)


def test_a_class_keeps_its_scores_whatever_the_others_are(task, tmp_path, tiny_pack):
    one = tmp_path / "one.txt"
    one.write_text("fur: an animal with fur\n")
    for path, out in ((task, "three"), (one, "one")):
        compile(path, tmp_path / f"{out}.onnx", pack=tiny_pack, target="onnx", precision="fp32", multi_label=True)
    with Classifier.load(tmp_path / "three.onnx") as three, Classifier.load(tmp_path / "one.onnx") as alone:
        image = load_pack(tiny_pack).probes.images[1]
        assert alone.scores(image)[0] == pytest.approx(three.scores(image)[0], abs=1e-5)


def test_the_report_is_of_classes_by_themselves(tmp_path, capsys):
    one, out = tmp_path / "one.txt", tmp_path / "m.tflite"
    one.write_text("bald: not: an animal with fur\n")
    assert run(["compile", str(one), "-o", str(out), "--multi-label"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 1 class, int8 tflite, ")
    assert "of the answers on 2,381 bank images" in said and "of the answers on 4 probe images" in said
    assert not [word for word in ("best class", "expect", "alike", "known") if word in said]
    report = compile(one, out, multi_label=True, overwrite=True)
    assert report.head.cosine > 0.99 and 0.98 < report.head.top1_agreement < 1


@pytest.fixture
def photos(tmp_path, tiny_pack) -> Path:
    """Eight photos in the folders fur and round, and what a model with the thresholds 0, 1 and none says of them."""
    for number, pixels in enumerate([*load_pack(tiny_pack).probes.images[:4]] * 2):
        path = tmp_path / "photos" / ("fur", "round")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    task = tmp_path / "limits.txt"
    task.write_text("fur: fur; threshold: 0\nstripes: black stripes; threshold: 1\nround: fruit; threshold: 0\n")
    compile(task, tmp_path / "limits.tflite", pack=tiny_pack, multi_label=True, min_agreement=0)
    return tmp_path / "photos"


def test_run_lists_all_classes_that_are_present(photos, tmp_path, capsys):
    model = str(tmp_path / "limits.tflite")
    assert run(["run", model, str(photos), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["photos"]
    assert len(answers) == 8
    for answer in answers:
        listed = {row["name"] for row in answer["classes"]}
        assert set(answer["present"]) == {"fur", "round"} <= listed
    assert run(["run", model, str(photos), "--top", "1", "--json"]) == 0
    assert all(len(answer["classes"]) == 1 for answer in json.loads(capsys.readouterr().out)["photos"])


def test_the_runtimes_own_command_lists_them_too(photos, tmp_path, tiny_pack, capsys):
    task, model = tmp_path / "five.txt", tmp_path / "five.tflite"
    names = ("fur", "mane", "tail", "wings", "stem")
    task.write_text("".join(f"{name}: an animal with {name}; threshold: 0\n" for name in names))
    compile(task, model, pack=tiny_pack, precision="fp32", multi_label=True)
    photo = str(photos / "fur" / "0.png")
    assert runtime_main([str(model), photo]) == 0
    assert capsys.readouterr().out.count("(present)") == 5
    assert runtime_main([str(model), photo, "--top", "2"]) == 0
    assert capsys.readouterr().out.count("(present)") == 2


def test_eval_counts_presence(photos, tmp_path, capsys):
    model = str(tmp_path / "limits.tflite")
    assert run(["eval", model, str(photos), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["photos"], found["present"], found["others_present"]) == (8, 1.0, 1.0)
    fur, stripes, _ = found["classes"]
    assert fur == {"name": "fur", "photos": 4, "present": 4, "other_photos": 4, "present_in_others": 4}
    assert stripes == {"name": "stripes", "photos": 0, "present": 0, "other_photos": 8, "present_in_others": 0}
    assert run(["eval", model, str(photos)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "the class of the folder is present in 100.0% of 8 photos, with 1.0 other classes a photo"
    assert ["fur", "4", "100.0%", "100.0%"] in [line.split() for line in lines]
    assert run(["eval", model, str(photos), "--min-accuracy", "0.5"]) == 2
    assert "is multi-label, so it has no accuracy" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_one_class_may_be_left(target, task, tmp_path, tiny_pack):
    pack = load_pack(tiny_pack)
    pack.info = replace(pack.info, independent=True)
    three, one = (tmp_path / f"{name}.{target}" for name in ("three", "one"))
    compile(task, three, pack=pack, target=target, multi_label=True, min_agreement=0)
    assert remove(three, ["stripes", "round"], one).labels == ("fur",)
    with Classifier.load(three) as before, Classifier.load(one) as after:
        image = pack.probes.images[1]
        assert after.scores(image) == pytest.approx(before.scores(image)[:1], abs=1e-6)
    with pytest.raises(InputError, match="0 of 1 classes would be left; a multi-label model needs one"):
        remove(one, ["fur"], tmp_path / f"none.{target}")


def test_a_multi_label_model_takes_no_head_files(task, tmp_path, tiny_pack):
    other = tmp_path / "other.txt"
    other.write_text("cat\ndog\n")
    compile(task, tmp_path / "m.tflite", pack=tiny_pack, multi_label=True, min_agreement=0)
    compile(other, tmp_path / "m.t2mh", pack=tiny_pack, target="head", min_agreement=0)
    for change in (merge, add):
        with pytest.raises(InputError, match="is multi-label and takes no head files"):
            change(tmp_path / "m.tflite", tmp_path / "m.t2mh", tmp_path / "x.tflite")


@pytest.mark.parametrize(
    "more, said",
    [
        (["--scores", "logits"], "--multi-label does not go with --scores: "),
        (["--output-type", "int8"], "multi-label"),
        (["--reject", "0.05"], "--multi-label does not go with --reject: "),
        (["--target", "head"], "multi-label"),
    ],
)
def test_options_that_do_not_fit_are_refused(more, said, task, tmp_path, tiny_pack, capsys):
    out = tmp_path / "x.tflite"
    assert run(["compile", str(task), "-o", str(out), "--pack", str(tiny_pack), "--multi-label", *more]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()
