"""python -m t2m_runtime MODEL IMAGE..."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from t2m_runtime.__main__ import main
from t2m_runtime.manifest import OutputSpec


@pytest.fixture
def files(models, model_bytes, tmp_path):
    (tmp_path / "model").write_bytes(model_bytes)
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (30, 20), colour).save(tmp_path / f"{name}.png")
    return {name: str(tmp_path / name) for name in ("model", "red.png", "blue.png", "missing.png")}


def test_a_table_names_each_photo_and_its_best_classes(files, capsys):
    assert main([files["model"], files["red.png"], files["blue.png"], "--top", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == files["red.png"] and lines[1].split()[1] == "red"
    assert lines[2] == files["blue.png"] and lines[3].split()[1] == "blue"
    assert len(lines) == 4


def test_json_holds_the_same_answers(files, capsys):
    assert main([files["model"], files["red.png"], "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert document["images"][0]["classes"][0]["name"] == "red"
    assert document["images"][0]["rejected"] is False


def test_one_bad_photo_does_not_stop_the_others(files, capsys):
    assert main([files["model"], files["missing.png"], files["red.png"], "--json"]) == 2
    captured = capsys.readouterr()
    first, second = json.loads(captured.out)["images"]
    assert "missing.png" in first["error"] and second["classes"][0]["name"] == "red"
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1


@pytest.mark.parametrize("options", [["--top", "0"], ["--engine", "torch"], ["--threads", "0"]])
def test_wrong_options_are_one_line_and_exit_code_2(files, capsys, options):
    assert main([files["model"], files["red.png"], *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_model_that_is_not_ours_is_one_line_and_exit_code_2(files, capsys):
    assert main([files["red.png"], files["red.png"]]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1


def test_the_classes_that_are_present_are_marked_in_a_multi_label_model(models, files, capsys, tmp_path):
    manifest = models.manifest(output=OutputSpec(scores="sigmoid"))
    (tmp_path / "several").write_bytes(models.attach(models.colour_tflite(), manifest))
    assert main([str(tmp_path / "several"), files["red.png"]]) == 0
    best, *others = capsys.readouterr().out.splitlines()[1:]
    assert best.endswith("red  (present)") and not any("present" in line for line in others)
    assert main([str(tmp_path / "several"), files["red.png"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["present"] == ["red"]


def test_a_rejected_photo_is_marked(models, files, capsys, tmp_path):
    manifest = models.manifest(thresholds=(1.0, None, None))
    (tmp_path / "strict").write_bytes(models.attach(models.colour_tflite(), manifest))
    Image.new("RGB", (8, 8), (130, 120, 120)).save(tmp_path / "grey.png")
    assert main([str(tmp_path / "strict"), str(tmp_path / "grey.png")]) == 0
    assert "none of these" in capsys.readouterr().out.splitlines()[0]
