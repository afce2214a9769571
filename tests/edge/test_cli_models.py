"""The commands that use a compiled model: run, eval, inspect, verify. The model tells colours apart."""

import io
import json
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from t2m_edge.cli.main import run
from t2m_exporters.graph import Graph, Mean
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_runtime import Head, Layer
from t2m_runtime.manifest import MANIFEST_SCHEMA, InputSpec, Manifest, OutputSpec, PackRef
from t2m_runtime.self_test import SelfTest

COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "deep blue": (30, 30, 220), "grey": (128, 128, 128)}
LABELS = ("red", "green", "deep blue")
SIDE = 8


def colour_model(expected=None, thresholds=(None, None, 0.9)):
    """Bytes of a classifier that answers with the strongest colour; `expected` is the self-test's stored answer."""
    weight = (6 * np.eye(3)).astype(np.float32)
    head = Head(LABELS, (Layer(weight, np.zeros(3, np.float32)),))
    image = np.full((SIDE, SIDE, 3), COLOURS["green"], np.uint8)
    if expected is None:
        powers = np.exp(head.logits((image[:1, 0].astype(np.float32) - 128) / 128)[0])
        expected = tuple(float(value) for value in powers / powers.sum())
    manifest = Manifest(
        schema_version=MANIFEST_SCHEMA,
        name="colours",
        labels=LABELS,
        thresholds=thresholds,
        target="tflite",
        precision="fp32",
        input=InputSpec(SIDE, SIDE),
        output=OutputSpec(),
        pack=PackRef("colours", "1", "0" * 64),
        backbone_sha256="0" * 64,
        tool_version="0.1.0",
        self_test=SelfTest.from_image(image, expected, 1e-3),
    )
    graph = Graph((SIDE, SIDE, 3), (128.0,) * 3, (128.0,) * 3, (Mean("pooled", "image"),), "pooled")
    return append_head_tflite(write_backbone_tflite(graph), head, manifest)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "colours.tflite"
    path.write_bytes(colour_model())
    return str(path)


def photo(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 30), COLOURS.get(colour, colour)).save(path)
    return str(path)


@pytest.fixture
def photos(tmp_path):
    """Labelled photos: 3 of red (one of them is green), 2 of green, 2 of deep blue (one a faint blue: rejected)."""
    folder = tmp_path / "photos"
    photo(folder / "red" / "1.png", "red")
    photo(folder / "red" / "2.png", "red")
    photo(folder / "red" / "3.png", "green")
    photo(folder / "Green" / "1.jpg", "green")
    photo(folder / "Green" / "sub.bmp", "green")
    photo(folder / "deep_blue" / "1.png", "deep blue")
    photo(folder / "deep_blue" / "2.webp", (120, 120, 140))
    (folder / "red" / "notes.txt").write_text("no photo")
    (folder / "red" / "._1.png").write_bytes(b"left by macOS")
    return folder


def json_of(capsys):
    return json.loads(capsys.readouterr().out)


def test_run_prints_a_table(model, tmp_path, capsys):
    assert run(["run", model, photo(tmp_path / "a.png", "red")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["photo", "class", "score"]
    assert lines[1].split()[1:] == ["red", "1.000"]
    assert len(lines) == 4


def test_run_lists_one_class_a_photo_where_there_are_several(model, photos, capsys):
    assert run(["run", model, str(photos)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 7
    assert lines[1].startswith(os.path.join(str(photos), "Green", "1.jpg"))
    assert [line.split()[-1] == "rejected" for line in lines[1:]] == [False, False, False, True, False, False, False]


def test_run_takes_patterns_and_names_each_photo_once(model, photos, capsys):
    pattern = str(photos / "red" / "*.png")
    assert run(["run", model, pattern, str(photos / "red" / "1.png"), "--json"]) == 0
    document = json_of(capsys)
    assert document["schema_version"] == 1
    assert [os.path.basename(item["photo"]) for item in document["photos"]] == ["1.png", "2.png", "3.png"]
    assert document["photos"][0]["classes"][0]["name"] == "red"


def test_run_top(model, tmp_path, capsys):
    assert run(["run", model, photo(tmp_path / "a.png", "red"), "--top", "2", "--json"]) == 0
    assert len(json_of(capsys)["photos"][0]["classes"]) == 2
    assert run(["run", model, str(tmp_path / "a.png"), "--top", "0"]) == 2


def test_a_photo_that_is_none_does_not_stop_the_others(model, tmp_path, capsys):
    good = photo(tmp_path / "good.png", "green")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")
    assert run(["run", model, str(bad), good]) == 2
    out, err = capsys.readouterr()
    assert "green" in out
    assert err.startswith("error: ")
    assert str(bad) in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("ending", [".tar", ".tgz"])
def test_run_takes_a_tar_of_photos(model, photos, tmp_path, ending, capsys):
    assert run(["run", model, str(photos), "--json"]) == 0
    wanted = {os.path.relpath(row["photo"], photos): row["classes"] for row in json_of(capsys)["photos"]}
    path = tmp_path / ("photos" + ending)
    with tarfile.open(path, "w:gz" if ending == ".tgz" else "w") as tar:
        tar.add(photos, "")
    assert run(["run", model, str(path), "--json"]) == 0
    assert {os.path.relpath(row["photo"], path): row["classes"] for row in json_of(capsys)["photos"]} == wanted


@pytest.mark.parametrize("kind", ["empty", "text", "a photo that is none"])
def test_run_of_a_tar_that_is_off(model, tmp_path, kind, capsys):
    path = tmp_path / "photos.tar"
    with tarfile.open(path, "w") as tar:
        if kind == "a photo that is none":
            tar.addfile(tarfile.TarInfo("red/none.png"), io.BytesIO())
    if kind == "text":
        path.write_text("hello" * 300)
    assert run(["run", model, str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    said = {"empty": "no photos in this tar", "text": "not a readable tar", "a photo that is none": "red/none.png"}
    assert str(path) in err and said[kind] in err


@pytest.mark.parametrize("what", ["empty folder", "pattern", "missing"])
def test_run_without_photos(model, tmp_path, what, capsys):
    (tmp_path / "empty").mkdir()
    given = {"empty folder": tmp_path / "empty", "pattern": tmp_path / "*.jpg", "missing": tmp_path / "no.jpg"}[what]
    assert run(["run", model, str(given)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def check_counts(document):
    assert document["photos"] == 7
    assert document["accuracy"] == pytest.approx(6 / 7)
    assert document["class_accuracy"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert document["rejected"] == pytest.approx(1 / 7)
    assert document["accuracy_accepted"] == pytest.approx(5 / 6)
    assert document["confusion"] == [[2, 1, 0], [0, 2, 0], [0, 0, 2]]
    assert [row["rejected"] for row in document["classes"]] == [0, 0, 1]


def test_eval_of_a_folder(model, photos, capsys):
    assert run(["eval", model, str(photos), "--json"]) == 0
    check_counts(json_of(capsys))


def test_links_to_folders_are_followed_but_not_in_a_circle(model, photos, tmp_path, capsys):
    linked = tmp_path / "linked"
    linked.mkdir()
    for folder in photos.iterdir():
        (linked / folder.name).symlink_to(folder)
    (photos / "red" / "itself").symlink_to(photos / "red")
    assert run(["eval", model, str(linked), "--json"]) == 0
    check_counts(json_of(capsys))
    assert run(["run", model, str(linked), "--json"]) == 0
    assert len(json_of(capsys)["photos"]) == 7


def test_two_folders_that_link_to_each_other_end(model, tmp_path, capsys):
    photo(tmp_path / "in" / "a" / "1.png", "red")
    photo(tmp_path / "in" / "b" / "1.png", "green")
    (tmp_path / "in" / "a" / "b").symlink_to(tmp_path / "in" / "b")
    (tmp_path / "in" / "b" / "a").symlink_to(tmp_path / "in" / "a")
    assert run(["run", model, str(tmp_path / "in"), "--json"]) == 0
    found = [os.path.relpath(item["photo"], tmp_path / "in") for item in json_of(capsys)["photos"]]
    assert found == ["a/1.png", "a/b/1.png", "b/1.png", "b/a/1.png"]


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
@pytest.mark.parametrize("top", ["", "test/"])
def test_eval_of_a_tar(model, photos, tmp_path, ending, top, capsys):
    path = tmp_path / ("photos" + ending)
    with tarfile.open(path, "w:gz" if ending.endswith("gz") else "w") as tar:
        for file in sorted(photos.rglob("*")):
            if file.is_file():
                tar.add(file, top + file.relative_to(photos).as_posix())
    assert run(["eval", model, str(path), "--json"]) == 0
    check_counts(json_of(capsys))


def test_eval_prints_classes_and_confusions(model, photos, capsys):
    assert run(["eval", model, str(photos)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("accuracy 85.7% on 7 photos (88.9% mean over classes)\nrejected 14.3%; 83.3% of the accepted")
    lines = [line.split() for line in out.splitlines()]
    assert ["red", "3", "66.7%", "0.0%"] in lines
    assert ["red", "green", "1"] in lines


def test_unknown_class_folders_are_named(model, photos, capsys):
    photo(photos / "pink" / "1.png", "red")
    photo(photos / "lilac" / "1.png", "red")
    assert run(["eval", model, str(photos)]) == 2
    err = capsys.readouterr().err
    assert "the folders 'lilac', 'pink' are no class of the model" in err
    assert "--allow-missing" in err
    assert run(["eval", model, str(photos), "--allow-missing", "--json"]) == 0
    document = json_of(capsys)
    assert document["left_out_folders"] == ["lilac", "pink"]
    check_counts(document)


def test_a_class_without_photos_is_named(model, photos, capsys):
    for file in (photos / "Green").iterdir():
        file.unlink()
    assert run(["eval", model, str(photos)]) == 0
    assert "no photos: 'green'" in capsys.readouterr().out


def test_splits_side_by_side_need_a_choice(model, photos, tmp_path, capsys):
    both = tmp_path / "both"
    both.mkdir()
    photos.rename(both / "train")
    photo(both / "test" / "red" / "1.png", "red")
    assert run(["eval", model, str(both)]) == 2
    assert "('test', 'train'); choose one with --inside" in capsys.readouterr().err
    assert run(["eval", model, str(both), "--inside", "train", "--json"]) == 0
    check_counts(json_of(capsys))
    assert run(["eval", model, str(both), "--inside", "val"]) == 2


def test_accuracy_under_the_floor_is_exit_code_1(model, photos, capsys):
    assert run(["eval", model, str(photos), "--min-accuracy", "0.9"]) == 1
    assert capsys.readouterr().err == "error: accuracy 85.7% is under --min-accuracy 90.0%\n"
    assert run(["eval", model, str(photos), "--min-accuracy", "0.8"]) == 0


def test_two_folders_of_one_class(model, photos, capsys):
    photo(photos / "Deep-Blue" / "1.png", "deep blue")
    assert run(["eval", model, str(photos)]) == 2
    assert "'Deep-Blue' and 'deep_blue' are both the class 'deep blue'" in capsys.readouterr().err


def test_photos_outside_class_folders(model, photos, capsys):
    photo(photos / "loose.png", "red")
    assert run(["eval", model, str(photos)]) == 2
    assert "'loose.png' is in no class folder" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["text", "truncated", "gzip of nothing", "escaping", "link"])
def test_hostile_tars(model, tmp_path, kind, capsys):
    path = tmp_path / "photos.tar"
    image = io.BytesIO()
    Image.new("RGB", (9, 9), COLOURS["red"]).save(image, "PNG")
    with tarfile.open(path, "w") as tar:
        for number in range(30):
            info = tarfile.TarInfo(f"red/{number}.png" if kind != "escaping" else f"../../red/{number}.png")
            info.size = len(image.getvalue())
            if kind == "link":
                info.type, info.size, info.linkname = tarfile.SYMTYPE, 0, "/etc/passwd"
            tar.addfile(info, io.BytesIO(image.getvalue()))
    whole = path.read_bytes()
    path.write_bytes(
        {"text": b"hello" * 300, "truncated": whole[:5600], "gzip of nothing": b"\x1f\x8b"}.get(kind, whole)
    )
    code = run(["eval", model, str(path)])
    err = capsys.readouterr().err
    if kind == "escaping":
        assert code == 0
        assert not (tmp_path.parent / "red").exists()
    else:
        assert code == 2
        assert len(err.splitlines()) == 1


def test_inspect(model, capsys):
    assert run(["inspect", model]) == 0
    out = capsys.readouterr().out
    assert "colours, 3 classes" in out
    assert ["2", "deep", "blue", "0.9"] in [line.split() for line in out.splitlines()]
    assert run(["inspect", model, "--json"]) == 0
    document = json_of(capsys)
    assert document["manifest"]["labels"] == list(LABELS)
    assert document["size_bytes"] == os.path.getsize(model)
    assert 1_000 < document["arena_bytes"] < 1_000_000
    assert f"{document['arena_bytes']:,} bytes on the C core" in out


def test_verify(model, capsys):
    assert run(["verify", model]) == 0
    assert "right on litert" in capsys.readouterr().out


def test_verify_of_a_wrong_model_is_exit_code_1(tmp_path, capsys):
    path = tmp_path / "wrong.tflite"
    path.write_bytes(colour_model(expected=(0.5, 0.25, 0.25)))
    assert run(["verify", str(path), "--json"]) == 1
    document = json_of(capsys)
    assert document["passed"] is False
    assert document["max_error"] > 0.4


@pytest.mark.parametrize("command", ["run", "eval", "inspect", "verify"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 100, None])
def test_files_that_are_no_models(tmp_path, command, content, capsys):
    path = tmp_path / "model.tflite"
    if content is not None:
        path.write_bytes(content)
    rest = {"run": ["a.png"], "eval": [str(tmp_path)]}.get(command, [])
    assert run([command, str(path), *rest]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1


def test_engines_are_checked(model, capsys):
    assert run(["verify", model, "--engine", "litter"]) == 2
    assert capsys.readouterr().err.endswith("give one of litert, tflite_runtime, onnxruntime, core\n")
    assert run(["verify", model, "--threads", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: the number of threads is 0; ")


def test_a_threshold_by_hand(model, tmp_path, capsys):
    from t2m_runtime import read_manifest

    out = str(tmp_path / "strict.tflite")
    assert run(["threshold", model, "red", "0.75", "-o", out]) == 0
    assert read_manifest(out).thresholds == (0.75, None, 0.9)
    assert run(["threshold", out, "deep blue", "none", "--overwrite"]) == 0
    assert read_manifest(out).thresholds == (0.75, None, None)
    assert "self-test right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["red", "1.5"], "the threshold 1.5 is no score; give a number from 0 to 1, such as 0.6"),
        (["red", "nan"], "the threshold nan is no score"),
        (["red", "much"], "the threshold 'much' is no number"),
        (["rod", "0.5"], "has no class 'rod'; did you mean 'red'?"),
        (["red"], "give CLASS and SCORE, or --photos FOLDER"),
        ([], "give CLASS and SCORE, or --photos FOLDER"),
        (["red", "0.5", "--photos", "photos"], "give CLASS and SCORE, or --photos FOLDER"),
        (["--photos", "missing"], "missing: no such folder or tar"),
        (["--photos", "missing", "--keep", "0"], "--keep is 0; give a share above 0"),
    ],
)
def test_a_wrong_threshold_is_one_line(model, tmp_path, capsys, arguments, said):
    out = tmp_path / "strict.tflite"
    assert run(["threshold", model, *arguments, "-o", str(out)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_thresholds_from_photos_keep_the_share_that_was_asked_for(model, photos, tmp_path, capsys):
    out = str(tmp_path / "strict.tflite")
    photo(photos / "deep_blue" / "3.png", (90, 90, 160))
    assert run(["threshold", model, "--photos", str(photos), "--keep", "0.6", "-o", out, "--json"]) == 0
    classes = {row["name"]: row for row in json_of(capsys)["classes"]}
    assert (classes["red"]["photos"], classes["red"]["answered"], classes["red"]["kept"]) == (3, 2, 2)
    assert (classes["green"]["others"], classes["green"]["taken"]) == (6, 1)
    assert (classes["deep blue"]["answered"], classes["deep blue"]["kept"]) == (3, 2)
    assert run(["eval", out, str(photos), "--json"]) == 0
    assert json_of(capsys)["classes"][2]["rejected"] == 1
    assert run(["threshold", model, "--photos", str(photos), "-o", out, "--overwrite"]) == 0
    assert "under 20 photos are named rightly of 'red', 'green', 'deep blue'" in capsys.readouterr().out
