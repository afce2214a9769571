"""compile and pack on the command line, with a tiny pack."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import t2m_edge
from t2m_edge.cli.main import run
from t2m_runtime import read_manifest

TASK = "zebra: a horse like animal with black and white stripes\nmoose: a large deer with broad antlers\nhorse\n"


HATS = ("hat", "mat", "rat", "bat", "wig", "cap", "bag")


def said(task, text, capsys, *options):
    """What compile with the default pack prints of a task, by its first word."""
    Path(task).write_text(text)
    assert run(["compile", str(task), "--overwrite", *options]) == 0
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:])


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "animals.txt").write_text(TASK)
    return "animals.txt"


def test_compile_tells_what_it_made(tiny_pack, task, tmp_path, capsys):
    assert run(["compile", task, "--pack", str(tiny_pack)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("animals.tflite: 3 classes, int8 tflite, ")
    assert "bank images" in out
    assert "probe images" in out
    assert " ms (read " in out
    assert err == ""
    assert read_manifest(tmp_path / "animals.tflite").labels == ("zebra", "moose", "horse")


def test_the_ending_of_the_output_chooses_the_target(tiny_pack, task, capsys):
    assert run(["compile", task, "-o", "m.onnx", "--pack", str(tiny_pack), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert document["command"] == "compile"
    assert document["target"] == "onnx"
    assert read_manifest("m.onnx").target == "onnx"


def test_an_existing_file_stays_without_overwrite(tiny_pack, task, tmp_path, capsys):
    (tmp_path / "m.tflite").write_bytes(b"mine")
    assert run(["compile", task, "-o", "m.tflite", "--pack", str(tiny_pack)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "m.tflite").read_bytes() == b"mine"
    assert run(["compile", task, "-o", "m.tflite", "--pack", str(tiny_pack), "--overwrite"]) == 0
    assert (tmp_path / "m.tflite").read_bytes() != b"mine"


def test_a_dash_reads_the_task_from_stdin(tiny_pack, tmp_path, monkeypatch, capsys):
    def compiled(data):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return run(["compile", "-", "-o", str(tmp_path / "m.tflite"), "--pack", str(tiny_pack)])

    assert compiled(TASK.encode()) == 0
    assert read_manifest(tmp_path / "m.tflite").labels == ("zebra", "moose", "horse")
    (tmp_path / "m.tflite").unlink()
    capsys.readouterr()
    for data, said in (
        (b"zebra: a\n: b\n", "error: stdin, line 2, column 1: found no class name"),
        (b"", "error: stdin: the file is empty"),
        (b"a" * (2**24 + 1), "error: stdin: more than 16,777,216 bytes"),
    ):
        assert compiled(data) == 2
        err = capsys.readouterr().err
        assert err.startswith(said) and len(err.splitlines()) == 1
    assert not (tmp_path / "m.tflite").exists()


def test_known_names_the_classes_that_it_knows_by_their_names(task, capsys):
    found = said(task, "mouse: a computer pointing device\ncan: a verb\nzebra: not: plain coat\nunicorn\n", capsys)
    assert found["known"].endswith(" of 2 of 4 classes, if you mean what the pack knows as 'mouse' and 'can'")
    many = said(task, "mouse\ncan\nwolf\nbeaver\ncastle\nbanana\n", capsys)
    assert "'wolf', 'beaver' and 2 more" in many["known"]


def test_expect_is_not_given_for_classes_of_negatives_alone(task, capsys):
    horse = "horse: a large animal with hooves and a mane\n"
    assert "in four of five such tasks)" in said(task, horse + "zebra: black and white stripes", capsys)["expect"]
    found = said(task, "wolf\nzebra: not: plain coat", capsys)
    assert found["expect"] == "not known for classes given by not: alone; say what a photo of 'zebra' shows"
    assert "alike" not in found
    found = said(task, horse + "wolf\nzebra: not: plain coat", capsys)
    assert found["expect"] == (
        "not known for classes new to the pack while others are given by not: alone; say what a photo of 'zebra' shows"
    )
    many = said(task, "".join(f"{a} {b}\n" for a in ("red", "wet", "old") for b in HATS), capsys)
    assert "measured on tasks of at most 20 classes" in many["expect"]


def test_nothing_is_expected_where_the_words_of_most_classes_are_unknown(task, capsys):
    cucumber = "Gurke: eine lange gr\u00fcne Frucht\n"
    banana = "Banane: eine lange gelbe krumme Frucht\n"
    found = said(task, cucumber + banana + "horse: a large animal with hooves\n", capsys)
    assert found["expect"] == "not known: the text encoder does not know the words of most classes"
    found = said(task, cucumber + "horse: a large animal with hooves\nzebra: black and white stripes\n", capsys)
    assert "in four of five such tasks)" in found["expect"]


def test_alike_asks_for_a_description_where_there_is_none(task, capsys):
    found = said(task, "castle\nwolf\none: not: stripes\nother: not: dark stripes\n", capsys)["alike"]
    assert re.fullmatch(r"'one' and 'other' \(0.\d\d\): say what a photo of 'one' and 'other' shows", found)


def test_reject_says_what_it_turns_away_of_the_tasks_own_classes(task, capsys):
    found = said(task, "kiwi\nlemon\nunicorn\n", capsys, "--reject", "0.05")
    assert re.search(r"% right \(\d+% turned away as 'none of these'\) on", found["known"])
    assert "before 'none of these'" in found["expect"]


def test_what_is_read_is_never_replaced(tiny_pack, task, tmp_path, capsys):
    (tmp_path / "link.tflite").symlink_to(tmp_path / task)
    for output in (task, f"./{task}", "link.tflite"):
        assert run(["compile", task, "-o", output, "--pack", str(tiny_pack), "--overwrite"]) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1 and "is what this reads, so it is not replaced" in err
    packed = tmp_path / "tiny.t2mpack"
    assert run(["pack", "export", str(tiny_pack), "-o", str(packed)]) == 0
    assert run(["compile", task, "-o", str(packed), "--pack", str(packed), "--overwrite"]) == 2
    assert (tmp_path / task).read_text() == TASK
    assert zipfile.is_zipfile(packed)


@pytest.mark.parametrize(
    "output, target", [("x.onnx", "tflite"), ("x.TFLITE", "onnx"), ("x.tflite", "head"), ("x.t2mh", "onnx")]
)
def test_an_ending_of_another_target_is_refused(tiny_pack, task, tmp_path, output, target, capsys):
    assert run(["compile", task, "-o", output, "--target", target, "--pack", str(tiny_pack)]) == 2
    err = capsys.readouterr().err
    assert f"{output} has the ending of " in err and len(err.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [task]
    assert run(["compile", task, "-o", "x.bin", "--target", target, "--pack", str(tiny_pack)]) == 0


@pytest.mark.parametrize(
    "output, said",
    [
        ("x.onx", "x.onx has the unknown ending .onx; name it with one of .tflite, .onnx, .t2mh, or give --target"),
        ("x-v1.2", "x-v1.2 has the unknown ending .2"),
        ("x.txt", "x.txt has the ending of a text file, and a tflite model is written; name it x.tflite"),
        ("x.safetensors", "x.safetensors has the ending of a safetensors file"),
    ],
)
def test_an_ending_that_says_no_target_is_refused(tiny_pack, task, tmp_path, output, said, capsys):
    assert run(["compile", task, "-o", output, "--pack", str(tiny_pack)]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [task]


def test_a_name_without_an_ending_is_a_tflite_model(tiny_pack, task):
    assert run(["compile", task, "-o", "x", "--pack", str(tiny_pack)]) == 0
    assert read_manifest("x").target == "tflite"


def test_in_python_too_the_ending_chooses_the_target(tiny_pack, task):
    assert t2m_edge.compile(task, "x.onnx", pack=tiny_pack).target == "onnx"


def test_the_default_output_lies_in_the_current_folder_and_help_says_so(tiny_pack, task, tmp_path, capsys, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert run(["compile", str(tmp_path / task), "--pack", str(tiny_pack)]) == 0
    assert [path.name for path in Path().iterdir()] == ["animals.tflite"]
    capsys.readouterr()
    run(["compile", "--help"])
    assert "[default: TASK's name, in the current folder]" in " ".join(capsys.readouterr().out.split())


def test_warnings_go_to_stderr_and_into_the_json(tiny_pack, tmp_path, capsys):
    path = tmp_path / "t.txt"
    path.write_text("horse: a large animal without stripes\nzebra: black and white stripes\n")
    arguments = ["compile", str(path), "-o", str(tmp_path / "m.tflite"), "--pack", str(tiny_pack)]
    assert run(arguments) == 0
    err = capsys.readouterr().err
    assert err.startswith("warning: ")
    assert "write: a large animal; not: stripes\n" in err
    assert run([*arguments, "--overwrite", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == len(err.splitlines())


@pytest.mark.parametrize(
    "name, content",
    [
        ("missing.txt", None),
        ("empty.txt", b""),
        ("one.txt", b"zebra: stripes"),
        ("twice.txt", b"zebra: a\nzebra: b"),
        ("colon.txt", b"zebra: a\n:\nhorse: b"),
        ("many.txt", b"".join(b"animal %d\n" % i for i in range(10_000))),
        ("binary.txt", bytes(range(256)) * 10),
        ("binary.json", bytes(range(256)) * 10),
        ("broken.yaml", b"a: [b"),
        ("image.png", b"\x89PNG"),
        ("cut.csv", b'name,texts\nzebra,"str'),
    ],
)
def test_bad_tasks_are_one_line_and_leave_nothing(tiny_pack, tmp_path, name, content, capsys):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert run(["compile", str(path), "-o", str(tmp_path / "m.tflite"), "--pack", str(tiny_pack)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {path}")
    assert len(err.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ([] if content is None else [name])


def test_two_gigabytes_are_refused_at_once(tiny_pack, tmp_path, capsys):
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    assert run(["compile", str(path), "-o", str(tmp_path / "m.tflite"), "--pack", str(tiny_pack)]) == 2
    assert "2,147,483,648 bytes" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_in_the_middle_leaves_no_file(tiny_pack, task, tmp_path):
    code = (
        "import signal, sys, time; from t2m_edge.compiler import compiling; from t2m_edge.cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # shells ignore it for background jobs
        "def stop(*given):\n    print('writing', flush=True); time.sleep(60)\n"
        "compiling._run = stop\n"
        f"main(['compile', {task!r}, '-o', 'm.tflite', '--pack', {str(tiny_pack)!r}])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert len(err.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [task]


def test_too_low_parity_is_exit_code_1(tiny_pack, task, tmp_path, capsys, monkeypatch):
    from t2m_edge.compiler import compiling

    def compile_that_fails(*given, **options):
        return real(*given, **{**options, "min_agreement": 1.01})

    real = compiling.compile
    monkeypatch.setattr(compiling, "compile", compile_that_fails)
    assert run(["compile", task, "-o", "m.tflite", "--pack", str(tiny_pack)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "m.tflite").exists()


def test_pack_info_list_and_export(tiny_pack, tmp_path, capsys):
    assert run(["pack", "info", str(tiny_pack)]) == 0
    assert "tiny 0.0.1" in capsys.readouterr().out
    assert run(["pack", "list", str(tiny_pack.parent), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["packs"]
    assert [row["name"] for row in listed if row["pack"] == str(tiny_pack)] == ["tiny"]
    output = tmp_path / "tiny.t2mpack"
    assert run(["pack", "export", str(tiny_pack), "-o", str(output)]) == 0
    assert "pack.json" in zipfile.ZipFile(output).namelist()
    assert run(["pack", "info", str(output), "--json"]) == 0
    assert run(["pack", "export", str(tiny_pack), "-o", str(output)]) == 2


def test_pack_info_gives_accuracies_in_percent(capsys):
    from t2m_edge.packs import load_pack

    assert run(["pack", "info"]) == 0
    measured = load_pack().info.provenance["backbone"]["seen_test_accuracy"]
    assert measured["cifar100"] > 0.45
    assert ", ".join(f"{name} {share:.1%}" for name, share in measured.items()) + "\n" in capsys.readouterr().out


def test_pack_build_never_replaces_a_folder_that_is_no_pack(tmp_path, capsys):
    from t2m_edge.cli.commands.pack import refuse_folder
    from t2m_runtime import InputError

    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds no pack; it is not replaced"):
        refuse_folder(tmp_path, overwrite=True)
    with pytest.raises(InputError, match="--overwrite"):
        refuse_folder(tmp_path, overwrite=False)
