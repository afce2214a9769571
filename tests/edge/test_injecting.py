"""t2m-edge inject: new classes in classifiers of other tools and of our own, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load, save

from t2m_edge.cli.main import run
from t2m_edge.compiler.injecting import inject
from t2m_edge.compiler.trained_models import photo_views
from t2m_edge.packs import load_pack
from t2m_exporters.foreign_runs import Runner
from t2m_exporters.last_layer_onnx import read_onnx
from t2m_exporters.last_layer_tflite import read_tflite
from t2m_runtime import Classifier
from t2m_runtime.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "exporters"))
import foreign

OLD = ("horse", "zebra", "cat", "dog", "bird, fowl", "fish")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    weight, bias = foreign.weights(6)
    (tmp_path / "labels.txt").write_text("\n".join(OLD) + "\n")
    (tmp_path / "new.txt").write_text("moose: a large deer with broad antlers\n")
    (tmp_path / "m.tflite").write_bytes(foreign.tflite(labels=OLD))
    (tmp_path / "bare.tflite").write_bytes(foreign.tflite())
    (tmp_path / "int8.tflite").write_bytes(foreign.tflite(form="int8", layer="CONV_2D"))
    (tmp_path / "m.onnx").write_bytes(foreign.onnx(labels=json.dumps(OLD)))
    (tmp_path / "m.safetensors").write_bytes(save({"fc.weight": weight, "fc.bias": bias}))
    return tmp_path


def command(folder: Path, tiny_pack: Path, model: str, *more: str) -> int:
    out = str(folder / f"out{Path(model).suffix}")
    return run(["inject", str(folder / model), str(folder / "new.txt"), "-o", out, "--pack", str(tiny_pack), *more])


def test_a_tflite_with_metadata_needs_no_names(folder, tiny_pack, capsys):
    assert command(folder, tiny_pack, "m.tflite") == 0
    said = capsys.readouterr().out
    assert "6 + 1 classes" in said
    assert "old rows  bit-identical, same logits" in said
    found = read_tflite((folder / "out.tflite").read_bytes())
    assert found.labels == (*OLD, "moose")
    assert len(found.rows.weight) == 7
    assert not (folder / "out.labels.txt").exists()


@pytest.mark.parametrize("model", ["bare.tflite", "int8.tflite", "m.safetensors"])
def test_names_that_the_model_does_not_carry_are_written_beside_it(model, folder, tiny_pack):
    assert command(folder, tiny_pack, model, "--class-names", str(folder / "labels.txt")) == 0
    assert (folder / "out.labels.txt").read_text().splitlines() == [*OLD, "moose"]


def test_an_onnx_model_keeps_its_rows_and_names_the_new_ones(folder, tiny_pack):
    assert command(folder, tiny_pack, "m.onnx") == 0
    before, after = (read_onnx((folder / name).read_bytes()) for name in ("m.onnx", "out.onnx"))
    np.testing.assert_array_equal(after.rows.weight[:6], before.rows.weight)
    assert after.labels == (*OLD, "moose")


def test_safetensors_rows_grow(folder, tiny_pack):
    assert command(folder, tiny_pack, "m.safetensors", "--class-names", str(folder / "labels.txt")) == 0
    tensors = load((folder / "out.safetensors").read_bytes())
    assert tensors["fc.weight"].shape == (7, foreign.D)
    np.testing.assert_array_equal(tensors["fc.weight"][:6], foreign.weights(6)[0])


def image_classifier(form: str) -> bytes:
    """Photo (1, 3, 16, 16) -> 12 features -> a last layer without a bias, MatMul; form: float, or int8 weights."""
    weight = np.ascontiguousarray(foreign.weights(6)[0].T)
    filters = np.random.default_rng(2).normal(size=(foreign.D, 3, 3, 3)).astype(np.float32)
    constants = {"filters": filters, "w": weight}
    nodes = [
        helper.make_node("Conv", ["photo", "filters"], ["map"]),
        helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"]),
    ]
    if form == "int8":
        scale = np.float32(np.abs(weight).max() / 127)
        constants |= {"w8": np.rint(weight / scale).astype(np.int8), "scale": scale, "zero": np.int8(0)}
        del constants["w"]
        nodes.append(helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["w"]))
    nodes.append(helper.make_node("MatMul", ["features", "w"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()


def taken_by(model: Path, tiny_pack: Path, rows_before: int) -> tuple[float, int]:
    """Share of the pack's photos, as inject cuts them, on which a new row of the written model wins."""
    runner = Runner(model.read_bytes(), "onnx")
    views = runner.input.photos(photo_views(load_pack(tiny_pack).probes.images))
    return float((runner.run(views).argmax(1) >= rows_before).mean()), len(views)


@pytest.mark.parametrize("form", ["float", "int8"])
def test_what_is_said_of_new_rows_is_what_the_written_model_does(form, folder, tiny_pack, capsys):
    write(folder, "photos.onnx", image_classifier(form))
    more = ["--class-names", str(folder / "labels.txt")]
    assert command(folder, tiny_pack, "photos.onnx", *more, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["taken"], facts["photos"]) == taken_by(folder / "out.onnx", tiny_pack, 6)
    assert facts["logit_error"] == 0
    assert command(folder, tiny_pack, "photos.onnx", *more, "--overwrite") == 0
    out, err = capsys.readouterr()
    assert f"take {facts['taken']:.0%} of {facts['photos']} photos" in out
    lacking = [line for line in err.splitlines() if "the last layer has no bias" in line]
    if form == "float":
        assert read_onnx((folder / "out.onnx").read_bytes()).rows.bias[6] == pytest.approx(facts["offset"])
        assert f"bias {facts['offset']:+.2f} to theirs" in out
        assert not lacking
    else:
        assert facts["offset"] is None
        assert "as long as the old ones, no bias: they take" in out
        assert len(lacking) == 1


def test_a_safetensors_layer_without_a_bias_gets_none_and_that_is_said(folder, tiny_pack, capsys):
    write(folder, "m.safetensors", save({"fc.weight": foreign.weights(6)[0]}))
    named = ["--class-names", str(folder / "labels.txt")]
    assert command(folder, tiny_pack, "m.safetensors", *named) == 0
    out, err = capsys.readouterr()
    assert list(load((folder / "out.safetensors").read_bytes())) == ["fc.weight"]
    assert "new rows  as long as the old ones, no bias: not tried" in out
    assert "the last layer has no bias and cannot be given one: add +2.90 to the new classes' logits" in err
    assert command(folder, tiny_pack, "m.safetensors", *named, "--overwrite", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["offset"] is None
    assert facts["taken"] is None


@pytest.mark.parametrize("ending", ["tflite", "onnx", "t2mh"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_our_own_artifacts_keep_their_manifest_and_self_test(ending, precision, folder, tiny_pack):
    (folder / "task.txt").write_text("horse\nzebra\ncat\ndog\n")
    model = folder / f"own.{ending}"
    target = "head" if ending == "t2mh" else ending
    kind = ["--target", target, "--precision", precision, "--pack", str(tiny_pack), "--min-agreement", "0"]
    assert run(["compile", str(folder / "task.txt"), "-o", str(model), *kind]) == 0
    report = inject(model, folder / "new.txt", folder / f"more.{ending}", pack=tiny_pack)
    assert (report.rows_before, report.rows_after) == (4, 5)
    if ending != "t2mh":
        with Classifier.load(folder / f"more.{ending}") as classifier:
            assert classifier.manifest.labels == ("horse", "zebra", "cat", "dog", "moose")
            assert classifier.self_test() < 0.1


def test_a_descriptions_file_may_give_the_old_classes_texts(folder, tiny_pack):
    (folder / "old.json").write_text(json.dumps({name: f"a {name} with fur" for name in OLD}))
    assert command(folder, tiny_pack, "bare.tflite", "--class-names", str(folder / "old.json")) == 0


def test_json_has_the_report(folder, tiny_pack, capsys):
    assert command(folder, tiny_pack, "m.tflite", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["command"] == "inject"
    assert facts["new"] == ["moose"]
    assert facts["logit_error"] == 0
    assert facts["confusions"][0][0] == "moose"


def test_the_lines_say_how_to_try_a_model_of_another_tool(folder, tiny_pack, capfd):
    assert command(folder, tiny_pack, "m.tflite") == 0
    out, err = capfd.readouterr()
    assert "try it    on the engine that ran it before" in out
    assert "XNNPACK" not in err


def test_rows_of_no_use_are_warned_of(folder, tiny_pack):
    """Random rows have nothing to do with their names."""
    report = inject(folder / "m.tflite", folder / "new.txt", folder / "out.tflite", pack=tiny_pack)
    assert any("the names say nothing of this model's rows" in line for line in report.warnings)


def test_rows_that_follow_their_names_are_not(folder, tiny_pack):
    names = [f"{colour} {thing}" for colour in ("red", "green", "blue") for thing in ("apple", "cat", "bird", "fish")]
    texts = load_pack(tiny_pack).text_encoder.encode(names)
    write(folder, "m.safetensors", save({"fc.weight": np.ascontiguousarray(texts), "fc.bias": np.zeros(len(names))}))
    write(folder, "labels.txt", "\n".join(names))
    write(folder, "new.txt", "yellow dog\n")
    more = {"class_names": folder / "labels.txt", "pack": tiny_pack}
    report = inject(folder / "m.safetensors", folder / "new.txt", folder / "out.safetensors", **more)
    assert report.warnings == ()


def test_a_row_that_is_anothers_is_warned_of(folder, tiny_pack):
    write(folder, "new.txt", "moose: large\nlarge moose: large\n")
    report = inject(folder / "m.tflite", folder / "new.txt", folder / "out.tflite", pack=tiny_pack)
    assert any("moose like large moose" in line or "large moose like moose" in line for line in report.warnings)


@pytest.mark.parametrize("classes", ["moose", "moose\nred fish"])
def test_an_artifact_of_independent_classes_is_better_served_by_add(classes, folder, tiny_pack):
    (folder / "task.txt").write_text("horse\nzebra\ncat\ndog\n")
    write(folder, "new.txt", classes)
    at = ["--pack", str(tiny_pack), "--min-agreement", "0"]
    assert run(["compile", str(folder / "task.txt"), "-o", str(folder / "own.tflite"), *at]) == 0
    report = inject(folder / "own.tflite", folder / "new.txt", folder / "out.tflite", pack=tiny_pack)
    (advice,) = [line for line in report.warnings if "of compile" in line]
    if load_pack(tiny_pack).info.independent:
        assert f"t2m-edge add {folder / 'own.tflite'} more.t2mh" in advice
        assert ("moose -o FILE" in advice) == (classes == "moose")
    else:
        assert "in one task" in advice


def test_a_doubled_name_is_warned_of(folder, tiny_pack):
    write(folder, "labels.txt", "horse\ncat\ncrane\ndog\nCrane\nfish\n")
    more = {"class_names": folder / "labels.txt", "pack": tiny_pack}
    report = inject(folder / "bare.tflite", folder / "new.txt", folder / "out.tflite", **more)
    assert any(line.startswith("rows 2 and 4 share the name 'crane'") for line in report.warnings)


def test_a_safetensors_file_may_name_its_tensors_as_it_likes(folder, tiny_pack):
    weight, bias = foreign.weights(6)
    write(folder, "m.safetensors", save({"w": weight, "b": bias}))
    assert command(folder, tiny_pack, "m.safetensors", "--class-names", str(folder / "labels.txt")) == 0
    tensors = load((folder / "out.safetensors").read_bytes())
    assert tensors["w"].shape == (7, foreign.D)
    assert tensors["b"].shape == (7,)


def test_a_hidden_layer_of_as_many_rows_as_come_out_is_no_matter(folder, tiny_pack):
    weight, bias = foreign.weights(6)
    hidden = np.ones((7, 4), np.float32)
    write(folder, "m.safetensors", save({"fc.weight": weight, "fc.bias": bias, "hidden.weight": hidden}))
    assert command(folder, tiny_pack, "m.safetensors", "--class-names", str(folder / "labels.txt")) == 0


@pytest.mark.parametrize("read", ["bare.tflite", "labels.txt", "new.txt"])
def test_what_is_read_is_not_replaced(read, folder, tiny_pack, capsys):
    before = (folder / read).read_bytes()
    where = ["-o", str(folder / read), "--overwrite", "--pack", str(tiny_pack)]
    named = ["--class-names", str(folder / "labels.txt")]
    assert run(["inject", str(folder / "bare.tflite"), str(folder / "new.txt"), *named, *where]) == 2
    assert "is what this reads" in capsys.readouterr().err
    assert (folder / read).read_bytes() == before


def test_a_labels_file_that_is_read_is_not_replaced(folder, tiny_pack, capsys):
    (folder / "labels.txt").rename(folder / "out.labels.txt")
    named = ["--class-names", str(folder / "out.labels.txt"), "--overwrite"]
    assert command(folder, tiny_pack, "bare.tflite", *named) == 2
    assert "out.labels.txt is what this reads" in capsys.readouterr().err
    assert not (folder / "out.tflite").exists()


def write(folder: Path, name: str, content: bytes | str) -> None:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(
    "model, change, said",
    [
        ("m.tflite", {"new.txt": "zebra: with stripes\nmoose\n"}, "'zebra' is there already (row 1"),
        ("m.tflite", {"new.txt": "Fowl\n"}, "'Fowl' is there already (row 4, 'bird, fowl')"),
        ("m.tflite", {"new.txt": "moose: not: stripes\n"}, "'moose' has not: texts alone"),
        ("m.tflite", {"new.txt": "# nothing"}, "write at least one class"),
        ("bare.tflite", {}, "carries no class names; give them with --class-names"),
        (
            "bare.tflite",
            {"labels.txt": "a\nb\nc\nd\ne\n"},
            "5 class names, the model's last layer 6 rows; if",
        ),
        ("m.safetensors", {"labels.txt": "a\nb\n"}, "0 matrices of 2 rows"),
        ("bare.tflite", {"labels.txt": "a\n\nb\n"}, "line 2: found no name"),
        ("m.tflite", {"m.tflite": foreign.tflite(labels=OLD)[:600]}, "m.tflite: the model is damaged"),
        ("m.tflite", {"m.tflite": foreign.tflite(layer="CONV_2D", side=3)}, "expected 1x1 on a 1x1 map"),
        ("m.onnx", {"m.onnx": foreign.onnx(last="Relu")}, "last layer is Relu"),
        ("m.onnx", {"m.onnx": foreign.onnx()[:50]}, "m.onnx: the model is damaged"),
        ("m.safetensors", {"m.safetensors": save({"w": np.ones((6, 4))})[:-1]}, "m.safetensors: the model is damaged"),
        ("m.safetensors", {"m.safetensors": b"\xff" * 40}, "no .tflite, .onnx or safetensors"),
        ("m.safetensors", {"m.safetensors": save({"w": np.ones(3, np.float32)})}, "0 matrices"),
        ("m.onnx", {"m.onnx": "text"}, "no .tflite, .onnx or safetensors"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line_exit_code_2_and_nothing_written(model, change, said, folder, tiny_pack, capsys):
    for name, content in change.items():
        write(folder, name, content)
    names = ["--class-names", str(folder / "labels.txt")] if "labels.txt" in change or "safetensors" in model else []
    before = sorted(path.name for path in folder.iterdir())
    assert command(folder, tiny_pack, model, *names) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len([line for line in err.splitlines() if not line.startswith("warning: ")]) == 1
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("name", ["none.txt", "none.csv", "none"])
def test_a_missing_file_of_class_names_is_called_so(name, folder, tiny_pack, capsys):
    assert command(folder, tiny_pack, "bare.tflite", "--class-names", str(folder / name)) == 2
    err = capsys.readouterr().err
    assert f"{name}: no such file; give the path of a file of class names" in err
    assert "descriptions" not in err


def test_a_cut_artifact_is_named(folder, tiny_pack, capsys):
    (folder / "task.txt").write_text("horse\nzebra\ncat\ndog\n")
    for target, name in (("head", "own.t2mh"), ("tflite", "own.tflite"), ("onnx", "own.onnx")):
        out = ["-o", str(folder / name), "--target", target, "--pack", str(tiny_pack), "--min-agreement", "0"]
        assert run(["compile", str(folder / "task.txt"), *out]) == 0
        write(folder, name, (folder / name).read_bytes()[:-40])
        capsys.readouterr()
        assert command(folder, tiny_pack, name) == 2
        assert f"{folder / name}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "model, output, better",
    [
        ("m.tflite", "y.onnx", "y.tflite"),
        ("m.onnx", "y.TFLITE", "y.onnx"),
        ("m.tflite", "y.t2mh", "y.tflite"),
        ("m.onnx", "y.txt", "y.onnx"),
        ("m.safetensors", "y.t2mh", "y.safetensors"),
        ("m.safetensors", "y.tflite", "y.safetensors"),
    ],
)
def test_an_ending_of_another_format_is_refused(model, output, better, folder, tiny_pack, capsys):
    before = sorted(path.name for path in folder.iterdir())
    named = ["--class-names", str(folder / "labels.txt"), "--pack", str(tiny_pack)]
    assert run(["inject", str(folder / model), str(folder / "new.txt"), "-o", str(folder / output), *named]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{output} has the ending of " in err
    assert f"name it {folder / better}" in err
    assert len(err.splitlines()) == 1
    assert sorted(path.name for path in folder.iterdir()) == before


def test_an_ending_that_no_format_has_is_taken(folder, tiny_pack):
    inject(folder / "m.tflite", folder / "new.txt", folder / "y.lite", pack=tiny_pack)
    assert len(read_tflite((folder / "y.lite").read_bytes()).rows.weight) == 7


def test_the_default_output_lies_in_the_current_folder_and_help_says_so(folder, tiny_pack, capsys, monkeypatch):
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    named = ["--class-names", str(folder / "labels.txt"), "--pack", str(tiny_pack)]
    assert run(["inject", str(folder / "bare.tflite"), str(folder / "new.txt"), *named]) == 0
    names = sorted(path.name for path in Path().iterdir())
    assert names == ["bare-injected.labels.txt", "bare-injected.tflite"]
    capsys.readouterr()
    run(["inject", "--help"])
    assert "[default: MODEL's name with -injected, in the current folder]" in " ".join(capsys.readouterr().out.split())


def test_a_labels_file_of_too_long_a_name_is_refused_by_its_name(folder, tiny_pack, capsys):
    name = "y" * 245
    named = ["--class-names", str(folder / "labels.txt"), "--pack", str(tiny_pack)]
    where = ["-o", str(folder / f"{name}.tflite")]
    assert run(["inject", str(folder / "bare.tflite"), str(folder / "new.txt"), *named, *where]) == 2
    assert f"{name}.labels.txt cannot be written (File name too long)" in capsys.readouterr().err
    assert not list(folder.glob("y*"))


def test_an_existing_file_is_kept(folder, tiny_pack):
    write(folder, "out.tflite", b"mine")
    assert command(folder, tiny_pack, "m.tflite") == 2
    assert (folder / "out.tflite").read_bytes() == b"mine"
    with pytest.raises(InputError, match="exists"):
        inject(folder / "m.tflite", folder / "new.txt", folder / "out.tflite", pack=tiny_pack)
