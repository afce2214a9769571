"""compile: descriptions in, a classifier out that gives the float model's answers, or one clear error and no file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import t2m_edge
from t2m_edge.compiler.editing import merge
from t2m_edge.hypernetworks.class_vectors import TextCentres, class_vectors
from t2m_edge.packs import load_pack
from t2m_runtime import Classifier, InputError, WorkError, read_manifest

TASK = "zebra: a horse like animal with black and white stripes\nmoose: a large deer with broad antlers\nhorse\n"


@pytest.fixture
def task(tmp_path: Path) -> Path:
    path = tmp_path / "animals.txt"
    path.write_text(TASK)
    return path


@pytest.mark.parametrize("target", ["tflite", "onnx"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_compiled_model_gives_the_float_models_answers(tiny_pack, task, tmp_path, target, precision) -> None:
    report = t2m_edge.compile(task, tmp_path / f"m.{target}", pack=tiny_pack, target=target, precision=precision)
    assert report.model.agreement == 1.0
    assert report.model.max_error < (0.05 if precision == "int8" else 1e-4)
    assert report.head.top1_agreement >= 0.95
    assert report.size_bytes == Path(report.output).stat().st_size
    with Classifier.load(report.output) as classifier:
        assert classifier.labels == ("zebra", "moose", "horse")
        scores = classifier.scores(load_pack(tiny_pack).probes.images[0])
        assert classifier.self_test() <= read_manifest(report.output).self_test.tolerance
    assert scores.sum() == pytest.approx(1, abs=1e-3)


def test_a_threshold_is_a_softmax_score_and_not_a_logit(tiny_pack, tmp_path) -> None:
    task = tmp_path / "task.txt"
    task.write_text("zebra: stripes; threshold: 0.75\nmoose\n")
    with pytest.raises(InputError, match=r"threshold 0\.75 is a softmax score and does not go with logits"):
        t2m_edge.compile(task, tmp_path / "m.tflite", pack=tiny_pack, scores="logits")
    assert not (tmp_path / "m.tflite").exists()
    t2m_edge.compile(task, tmp_path / "m.t2mh", pack=tiny_pack, target="head")
    task.write_text("horse\nmoose\n")
    t2m_edge.compile(task, tmp_path / "m.tflite", pack=tiny_pack, scores="logits")
    with pytest.raises(InputError, match="does not go with logits"):
        merge(tmp_path / "m.tflite", tmp_path / "m.t2mh", tmp_path / "merged.tflite")


def test_the_report_is_plain_json(tiny_pack, task, tmp_path) -> None:
    report = t2m_edge.compile(task, tmp_path / "m.tflite", pack=tiny_pack)
    told = json.loads(json.dumps(report.to_dict()))
    assert told["schema_version"] == 1
    order = ["read", "encode", "hypernetwork", "quantise", "write", "compare", "trust", "save", "check"]
    assert list(told["stages"]) == order


def test_the_same_task_gives_the_same_bytes(tiny_pack, task, tmp_path) -> None:
    for name in ("one", "two"):
        t2m_edge.compile(task, tmp_path / f"{name}.tflite", pack=tiny_pack)
    assert (tmp_path / "one.tflite").read_bytes() == (tmp_path / "two.tflite").read_bytes()


EVERY_TARGET = """
import sys, t2m_edge
for target in ("tflite", "onnx", "head"):
    t2m_edge.compile(sys.argv[1], f"{sys.argv[2]}.{target}", pack=sys.argv[3], target=target)
"""


def test_two_processes_give_the_same_bytes(tiny_pack, task, tmp_path) -> None:
    for name, seed, threads in (("one", "1", "1"), ("two", "2", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OPENBLAS_NUM_THREADS": threads}
        command = [sys.executable, "-c", EVERY_TARGET, str(task), str(tmp_path / name), str(tiny_pack)]
        subprocess.run(command, env=environment, check=True)
    for target in ("tflite", "onnx", "head"):
        assert (tmp_path / f"one.{target}").read_bytes() == (tmp_path / f"two.{target}").read_bytes()


def test_the_manifest_says_what_it_was_made_with(tiny_pack, task, tmp_path) -> None:
    t2m_edge.compile(task, tmp_path / "m.tflite", pack=tiny_pack)
    manifest = read_manifest(tmp_path / "m.tflite")
    assert manifest.tool_version == t2m_edge.__version__
    assert f"numpy {np.__version__}, tokenizers " in manifest.made_with


def test_reordered_classes_give_reordered_scores(tiny_pack, tmp_path) -> None:
    lines = TASK.splitlines()
    found = []
    for name, order in (("a", lines), ("b", lines[::-1])):
        path = tmp_path / f"{name}.txt"
        path.write_text("\n".join(order))
        report = t2m_edge.compile(path, tmp_path / f"{name}.tflite", pack=tiny_pack, precision="fp32")
        with Classifier.load(report.output) as classifier:
            found.append(classifier.scores(load_pack(tiny_pack).probes.images[1]))
    np.testing.assert_allclose(found[0], found[1][::-1], atol=1e-5)


def test_a_thousand_classes(tiny_pack, tmp_path) -> None:
    path = tmp_path / "many.txt"
    path.write_text(
        "".join(f"class {i}: a {'red' if i % 2 else 'blue'} animal with {i} stripes\n" for i in range(1000))
    )
    report = t2m_edge.compile(path, tmp_path / "m.tflite", pack=tiny_pack, min_agreement=0)
    with Classifier.load(report.output) as classifier:
        assert classifier.scores(load_pack(tiny_pack).probes.images[0]).sum() == pytest.approx(1, abs=1e-3)


def test_thresholds_reach_the_manifest(tiny_pack, tmp_path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("cat: fur; threshold: 0.7\ndog: tail\n")
    report = t2m_edge.compile(path, tmp_path / "m.tflite", pack=tiny_pack)
    assert read_manifest(report.output).thresholds == (0.7, None)


def test_too_little_agreement_is_an_error_and_leaves_no_file(tiny_pack, task, tmp_path) -> None:
    with pytest.raises(WorkError, match="agrees"):
        t2m_edge.compile(task, tmp_path / "m.tflite", pack=tiny_pack, min_agreement=1.01)
    assert [p.name for p in tmp_path.iterdir()] == ["animals.txt"]


def test_an_existing_file_is_kept(tiny_pack, task, tmp_path) -> None:
    (tmp_path / "m.tflite").write_bytes(b"mine")
    with pytest.raises(InputError, match="--overwrite"):
        t2m_edge.compile(task, tmp_path / "m.tflite", pack=tiny_pack)
    assert (tmp_path / "m.tflite").read_bytes() == b"mine"
    t2m_edge.compile(task, tmp_path / "m.tflite", pack=tiny_pack, overwrite=True)
    assert (tmp_path / "m.tflite").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"target": "coreml"}, "tflite, onnx"),
        ({"precision": "int2"}, "int8, fp32"),
        ({"output": "no/such/folder/m.tflite"}, "does not exist"),
        ({"output": "."}, "is a folder"),
        ({"pack": "no-such-pack"}, "no pack at"),
    ],
)
def test_wrong_arguments_say_what_to_write(tiny_pack, task, arguments, said) -> None:
    with pytest.raises(InputError, match=said):
        t2m_edge.compile(task, **{"pack": tiny_pack, **arguments})


def test_a_class_of_unknown_words_is_an_error_that_names_them(tiny_pack, tmp_path) -> None:
    path = tmp_path / "codes.txt"
    path.write_text("cat: fur\nXJ-4471: qwrtz\n")
    with pytest.raises(InputError, match="qwrtz") as error:
        t2m_edge.compile(path, tmp_path / "m.tflite", pack=tiny_pack)
    assert "codes.txt, line 2" in str(error.value)


def test_classes_of_signs_alone_and_of_unknown_words_are_refused_together(tiny_pack, tmp_path) -> None:
    path = tmp_path / "signs.txt"
    path.write_text("cat: fur\n!!: ?!\n")
    with pytest.raises(InputError, match="signs.txt, line 2: class '!!': the text encoder knows none of its words; "):
        t2m_edge.compile(path, tmp_path / "m.tflite", pack=tiny_pack)
    path.write_text("cat\n" + "".join(f"{sign * 2}\n" for sign in ["猫", "!", "🐈", "?", "q7", "z9", "~"]))
    with pytest.raises(InputError, match=r"'猫猫' \(line 2\), .*, 'q7q7' \(line 6\) and 2 more; describe them"):
        t2m_edge.compile(path, tmp_path / "m.tflite", pack=tiny_pack)
    assert not (tmp_path / "m.tflite").exists()


def test_a_text_without_a_known_word_is_a_warning(tiny_pack, tmp_path) -> None:
    path = tmp_path / "signs.txt"
    path.write_text("cat: black fur; ?!; not: 猫\ndog: white fur\n")
    report = t2m_edge.compile(path, tmp_path / "m.tflite", pack=tiny_pack)
    assert ["'?!'" in w or "'猫'" in w for w in report.warnings] == [True, True]


def test_a_class_of_mostly_unknown_words_is_a_warning(tiny_pack, tmp_path) -> None:
    path = tmp_path / "codes.txt"
    path.write_text("cat: fur\nbird: qwrtz plmkn wxcvb\n")
    report = t2m_edge.compile(path, tmp_path / "m.tflite", pack=tiny_pack)
    assert any("under half" in w and "qwrtz" in w for w in report.warnings)


def test_a_text_over_the_token_limit_is_a_warning(tiny_pack, tmp_path) -> None:
    path = tmp_path / "long.txt"
    path.write_text(f"cat: {'red ' * 50}\ndog: fur\n")
    report = t2m_edge.compile(path, tmp_path / "m.tflite", pack=tiny_pack)
    assert any("is cut after 20" in w for w in report.warnings)


def test_compile_needs_no_torch(tiny_pack, task, tmp_path) -> None:
    code = (
        "import sys, t2m_edge; t2m_edge.compile(sys.argv[1], sys.argv[2], pack=sys.argv[3]);"
        "assert not {'torch', 'onnx', 'litert_torch'} & set(sys.modules), 'heavy import'"
    )
    paths = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code, task, tmp_path / "m.tflite", tiny_pack], env=paths)
    assert done.returncode == 0 and (tmp_path / "m.tflite").is_file()


def test_class_vectors_of_names_texts_and_negatives() -> None:
    embeddings = {"a photo of a cat": [3, 0], "fur": [0, 2], "tail": [0, 4], "wings": [0, -1]}

    def encode(texts):
        return np.array([embeddings.get(t, [1, 0]) for t in texts], np.float32)

    centres = TextCentres(np.zeros(2, np.float32), np.zeros(2, np.float32))
    z = class_vectors(encode, centres, ["cat", "cat", "bird"], [["fur", "tail"], [], []], [["wings"], [], ["wings"]])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(z, [[half, half, 0, -1], [1, 0, 0, 0], [0, 0, 0, -1]], atol=1e-6)
