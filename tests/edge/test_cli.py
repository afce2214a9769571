"""The command line as a whole: help, exit codes, one-line errors, interruption."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from t2m_edge.cli import main as cli
from t2m_edge.cli.main import COMMANDS, run
from t2m_runtime.errors import InputError, WorkError

GROUPS = {
    "train": ("text", "backbone", "head"),
    "pack": ("build", "list", "info", "export"),
    "bench": ("run", "history", "compare", "export"),
}
HELPS = [[name] for name in COMMANDS] + [[group, name] for group, names in GROUPS.items() for name in names]


def test_help_lists_every_command(capsys):
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_every_help_works_and_begins_with_examples(words, capsys):
    assert run([*words, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: t2m-edge {words[0]}")
    if words[0] not in GROUPS or len(words) > 1:
        assert f"  t2m-edge {' '.join(words)}" in out
        assert "--json" in out
        assert "--debug" in out
    else:
        assert all(f"  {name} " in out for name in GROUPS[words[0]])


def test_no_arguments_is_wrong_use(capsys):
    assert run([]) == 2
    assert capsys.readouterr().out.startswith("Usage:")


def test_version_is_the_same_everywhere(capsys):
    import t2m_edge

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"t2m-edge {t2m_edge.__version__}\n"
    root = Path(__file__).resolve().parents[2]
    assert f'\nversion = "{t2m_edge.__version__}"\n' in (root / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["complie", "x"], "the command is 'complie'; write compile"),
        (["compile"], "Missing argument 'TASK'; see t2m-edge compile --help"),
        (["compile", "a.txt", "--targt", "onnx"], "--target"),
        (["compile", "a.txt", "--target", "tflight"], "--target is 'tflight'; write tflite"),
        (["compile", "a.txt", "--precision", "int4"], "--precision is 'int4'; write int8"),
        (["compile", "a.txt", "--min-agreement", "95"], "--min-agreement is 95.0; give a share from 0 to 1"),
        (["compile", "no-such-file.txt"], "no-such-file.txt"),
        (["run", "model.tflite"], "Missing argument 'IMAGE...'"),
        (["run", "a.tflite", "b", "--top", "x"], "--top"),
        (["pack", "info", "no-such-pack"], "no pack at no-such-pack"),
        (["pack", "export", "default", "-o", "x.zip"], "a pack file ends in .t2mpack"),
        (["pack", "bild"], "bild"),
        (["train", "backbone"], "--shared"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, said, capsys, monkeypatch):
    monkeypatch.delenv("T2M_SHARED", raising=False)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "error, code, said",
    [
        (InputError("bad\nfile"), 2, "bad file"),
        (WorkError("too far off"), 1, "too far off"),
        (FileNotFoundError(2, "No such file or directory", "x.txt"), 2, "x.txt: No such file or directory"),
        (OSError(28, "No space left on device", "x.tflite"), 1, "x.tflite: No space left on device"),
        (InputError("bad \x1b[2J name"), 2, "bad ?[2J name"),
        (ModuleNotFoundError("No module named 'numpy'", name="numpy"), 2, "the package 'numpy' is not installed"),
        (MemoryError(), 1, "out of memory"),
        (FloatingPointError("the loss is not finite"), 1, "the loss is not finite"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError: division by zero"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_become_one_line_and_an_exit_code(error, code, said, capsys, monkeypatch):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert run(["anything"]) == code
    err = capsys.readouterr().err
    assert err.startswith("error: " + said)
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("encoding, shown", [("ascii", "? ?"), ("utf-8", "\u732b ?")])
def test_what_a_terminal_cannot_show_does_not_stop_a_table(encoding, shown, monkeypatch):
    from t2m_edge.cli import output

    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    output.say_table(["class", "score"], [["\u732b \x1b", "1.0"]])
    sys.stdout.flush()
    assert raw.getvalue().decode(encoding).splitlines()[1].split("  ")[0].strip() == shown


def test_wide_characters_keep_columns_in_line(capsys):
    from t2m_edge.cli.output import say_table

    say_table(["a", "b"], [["\u732b", "1"], ["dog", "2"]])
    assert capsys.readouterr().out == "a    b\n\u732b   1\ndog  2\n"


def test_debug_shows_the_traceback():
    with pytest.raises(InputError):
        run(["compile", "no-such-file.txt", "--debug"])
    with pytest.raises(InputError):
        run(["--debug", "compile", "no-such-file.txt"])


def python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **options,
    )


def test_help_imports_neither_numpy_nor_the_engines():
    code = (
        "import sys; from t2m_edge.cli.main import run; run(['--help']);"
        "print([m for m in ('numpy', 'PIL', 'typer', 'onnxruntime', 'torch', 'yaml') if m in sys.modules])"
    )
    out, err = python("-c", code).communicate()
    assert out.splitlines()[-1] == "[]", err


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_imports_no_numpy(name):
    code = (
        f"import sys; from t2m_edge.cli.main import run; run(['{name}', '--help']);"
        "print([m for m in ('numpy', 'PIL', 'onnxruntime', 'torch', 'yaml', 'rich') if m in sys.modules])"
    )
    out, err = python("-c", code).communicate()
    assert out.splitlines()[-1] == "[]", err


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_is_one_line_and_exit_code_130(tmp_path):
    code = (
        "import signal, sys, time; from t2m_edge.cli import main as cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # shells ignore it for background jobs
        "def wait(path, *rest):\n    print('ready', flush=True); time.sleep(60)\n"
        "import t2m_runtime.artifact as artifact; artifact.read_manifest = wait\n"
        "cli.main(['inspect', 'x.tflite'])"
    )
    process = python("-c", code, cwd=tmp_path)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err == "error: interrupted; nothing half written was left behind\n"
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_no_traceback():
    code = "from t2m_edge.cli.main import main; main(['--help'])"
    process = python("-c", "import time; time.sleep(0.3)\n" + code)
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=20)
    assert "Traceback" not in err
    assert err == ""


def test_doctor_names_engines_packs_and_extras(capsys):
    code = run(["doctor", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert code == (1 if document["problems"] else 0)
    assert {engine["name"] for engine in document["engines"]} >= {"litert", "onnxruntime"}
    assert set(document["extras"]) == {"train", "convert", "clip", "board"}
    assert document["packs"][0]["name"] == "default"
    run(["doctor"])
    assert 'pip install "t2m-edge[convert]"' in capsys.readouterr().out or document["extras"]["convert"]


def test_targets_is_a_table_of_what_compile_takes(capsys):
    from t2m_edge.compiler.cells import PRECISIONS, TARGETS

    assert run(["targets", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["targets"]
    assert {(cell["target"], cell["precision"]) for cell in cells} == {(t, p) for t in TARGETS for p in PRECISIONS}
    assert run(["targets"]) == 0
    assert capsys.readouterr().out.split()[0] == "target"


def test_a_missing_extra_is_answered_with_the_pip_line(capsys, monkeypatch, tmp_path):
    from t2m_edge.cli import extras

    monkeypatch.setitem(extras.MODULES, "train", "no_such_module_here")
    assert run(["train", "backbone", "--shared", str(tmp_path), "-o", str(tmp_path / "x")]) == 2
    assert 'pip install "t2m-edge[train]"' in capsys.readouterr().err


def test_readme_and_ci_run_the_same_line():
    root = Path(__file__).resolve().parents[2]
    readme = (root / "README.md").read_text(encoding="utf-8")
    lines = dict(re.findall(r"<!-- (run|test) -->\n```sh\n(.+)\n```", readme))
    assert lines["test"].startswith("pip install ./runtimes/python '.[test]' && ")
    assert lines["run"].startswith("pip install ./runtimes/python . && t2m-edge compile examples/")
    assert "<!-- test -->" in (root / ".ci" / "run").read_text()
