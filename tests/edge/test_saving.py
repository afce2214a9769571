"""Where files may be written: whole or not at all, and only in place of regular files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from t2m_edge.cli.main import run
from t2m_edge.compiler.saving import check_output, save, written_aside
from t2m_edge.packs.writing import zip_pack
from t2m_runtime import InputError

posix = pytest.mark.skipif(os.name == "nt", reason="named pipes and links of POSIX")


@posix
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_pipe_is_not_replaced(tmp_path, overwrite):
    pipe = tmp_path / "m.tflite"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match=f"^{pipe} is no regular file"):
        check_output(pipe, overwrite)
    with pytest.raises(InputError, match="no regular file"):
        save(pipe, b"new", overwrite)
    assert pipe.is_fifo()
    assert os.listdir(tmp_path) == ["m.tflite"]


@posix
def test_commands_refuse_a_pipe_in_one_line(tmp_path, tiny_pack, capsys):
    (tmp_path / "task.txt").write_text("horse\nzebra\n")
    for name in ("m.tflite", "p.t2mpack", "r.json"):
        os.mkfifo(tmp_path / name)
    for command in (
        ["compile", str(tmp_path / "task.txt"), "-o", str(tmp_path / "m.tflite"), "--pack", str(tiny_pack)],
        ["pack", "export", str(tiny_pack), "-o", str(tmp_path / "p.t2mpack")],
        ["bench", "export", str(tmp_path / "r.json")],
    ):
        assert run([*command, "--overwrite"]) == 2
        out, err = capsys.readouterr()
        assert "is no regular file" in err
        assert len((out + err).splitlines()) == 1
    assert all((tmp_path / name).is_fifo() for name in ("m.tflite", "p.t2mpack", "r.json"))


@posix
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path, there):
    (tmp_path / "models").mkdir()
    file, link = tmp_path / "models" / "m.tflite", tmp_path / "latest.tflite"
    if there:
        file.write_bytes(b"old")
    link.symlink_to(Path("models") / "m.tflite")
    save(link, b"new", overwrite=True)
    assert link.is_symlink()
    assert not file.is_symlink()
    assert file.read_bytes() == b"new"
    assert sorted(os.listdir(tmp_path)) == ["latest.tflite", "models"]
    assert os.listdir(file.parent) == ["m.tflite"]


@posix
def test_a_pack_is_zipped_to_what_a_link_leads_to(tmp_path, tiny_pack):
    (tmp_path / "old.t2mpack").write_bytes(b"old")
    (tmp_path / "link.t2mpack").symlink_to("old.t2mpack")
    zip_pack(tiny_pack, tmp_path / "link.t2mpack", overwrite=True)
    assert (tmp_path / "link.t2mpack").is_symlink()
    assert (tmp_path / "old.t2mpack").read_bytes() != b"old"


@posix
@pytest.mark.parametrize(
    "target, said",
    [("pipe", "no regular file"), ("self", "no regular file"), ("gone/m.tflite", "the folder .*gone does not exist")],
)
def test_a_link_to_what_cannot_be_written_is_refused_and_stays(tmp_path, target, said):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "self").symlink_to(target)
    with pytest.raises(InputError, match=said):
        check_output(tmp_path / "self", overwrite=True)
    assert (tmp_path / "self").is_symlink()


def test_standard_output_is_refused(tmp_path, tiny_pack, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task.txt").write_text("horse\nzebra\n")
    assert run(["compile", "task.txt", "-o", "-", "--pack", str(tiny_pack)]) == 2
    assert "- stands for standard output" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["task.txt"]


def test_any_name_that_the_file_system_takes_can_be_written(tmp_path):
    path = tmp_path / ("x" * 248 + ".tflite")
    save(path, b"new", overwrite=False)
    assert path.read_bytes() == b"new"


def test_a_name_that_is_too_long_is_the_one_in_the_error(tmp_path):
    path = tmp_path / ("x" * 300 + ".tflite")
    with pytest.raises(InputError, match=rf"^{path} cannot be written \(File name too long\)") as caught:
        check_output(path, overwrite=False)
    assert len(str(caught.value).splitlines()) == 1


def test_an_error_of_the_system_names_the_file_that_was_asked_for(tmp_path, monkeypatch):
    def full(*given, **more):
        raise OSError(28, "No space left on device", str(tmp_path / ".t2m-edge-x"))

    monkeypatch.setattr("t2m_edge.compiler.saving.tempfile.mkstemp", full)
    with pytest.raises(OSError, match="No space left") as caught, written_aside(tmp_path / "m.tflite", b"", False):
        pass
    assert caught.value.filename == str(tmp_path / "m.tflite")
