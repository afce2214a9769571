"""The study's commands refuse what they cannot use before they work: one line, exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from t2m_edge.evaluation.frozen_features import BACKBONES
from t2m_edge.evaluation.kept import PART, drop_parts, in_parts, keep
from t2m_edge.evaluation.sources import DESCRIPTIONS
from t2m_edge.training.datasets import ARCHIVES

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "__main__": ["--encoder", "HERE"],
    "zero_shot": ["--packs", "HERE"],
    "negation": ["--packs", "HERE"],
    "calibration": ["--packs", "HERE"],
    "int8_accuracy": ["--packs", "HERE"],
    "attributes": ["--packs", "HERE"],
    "model_card": ["--packs", "HERE", "--task", "HERE/file", "--calibration", "HERE/file"],
    "inject": ["--encoder", "HERE"],
    "int8_calibration": ["--backbone", "HERE/file"],
}
"""{module: what it needs beside --shared and --cache}, HERE being a folder."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder whose files are there and empty, and a folder without packs."""
    folder = tmp_path / "data"
    names = ["splits.json", *(a for a, *_ in ARCHIVES.values()), "descriptions/awa2_attributes.json"]
    names += [f"descriptions/{n}" for of in DESCRIPTIONS.values() for n in of]
    names += [f"backbones/{b.file}" for b in BACKBONES.values()]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (tmp_path / "file").touch()
    return tmp_path


def refused(module: str, here: Path, more: list[str], monkeypatch, capsys) -> str:
    """The one line of a command that exits with 2."""
    given = [a.replace("HERE", str(here)) for a in COMMANDS[module] if a]
    options = ["--shared", str(here), "--cache", str(here / "cache"), *given]
    monkeypatch.setattr("sys.argv", [module, *options, *more])
    with pytest.raises(SystemExit) as stopped:
        import_module(f"t2m_edge.evaluation.{module}").main()
    out, err = capsys.readouterr()
    assert stopped.value.code == 2, err
    assert out == ""
    (line,) = err.splitlines()
    assert not (here / "cache").exists()
    return line


@pytest.mark.parametrize("module", COMMANDS)
def test_a_cache_that_is_a_file_is_refused(module, data, monkeypatch, capsys):
    line = refused(module, data, ["--cache", str(data / "file")], monkeypatch, capsys)
    assert "argument --cache: " in line
    assert "file is a file; give a folder" in line


@pytest.mark.parametrize("module", COMMANDS)
def test_missing_data_is_named(module, data, monkeypatch, capsys):
    (data / "data" / "splits.json").unlink()
    assert "splits.json is missing" in refused(module, data, [], monkeypatch, capsys)


@pytest.mark.parametrize(
    ("module", "more", "said"),
    [
        ("__main__", ["--jobs", "0"], "--jobs: '0' is not a whole number from 1 on"),
        ("__main__", ["--seeds", "x"], "--seeds: 'x' is not a whole number"),
        ("__main__", ["--methods", ""], "--methods: '' is unknown; write some of"),
        ("__main__", ["--packs", "/nope"], "--packs: /nope is no folder"),
        ("__main__", ["--encoder", "/nope"], "--encoder: /nope is no folder"),
        ("__main__", ["--out", "HERE/file"], "--out: "),
        ("__main__", ["--packs", "HERE"], "strict-0 is no pack"),
        ("__main__", ["--wrong"], "unrecognized arguments: --wrong; see python -m t2m_edge.evaluation --help"),
        ("__main__", ["--datasets", "grocery", "--splits", "strict_unseen"], "there is nothing to measure: grocery"),
        ("__main__", ["--tune", "--splits", "strict_unseen"], "there is nothing to measure"),
        ("inject", ["--methods", "guessing"], "--methods: 'guessing' is unknown"),
        ("inject", ["--encoder", "/nope"], "--encoder: /nope is no folder"),
        ("zero_shot", ["--packs", "/nope"], "--packs: /nope is no folder"),
        ("zero_shot", ["--splits", "9"], "--splits: '9' is unknown"),
        ("zero_shot", ["--json", "/nope/x.json"], "--json: /nope/x.json is no file in a folder that is there"),
        ("calibration", [], "strict-tuning is no pack"),
        ("calibration", ["--reject", "2"], "--reject: '2' is not a number between 0 and 1"),
        ("attributes", [], "strict-0 is no pack"),
        ("model_card", [], "strict-0 is no pack"),
        ("negation", [], "strict-0 is no pack"),
        ("negation", ["--backbone", "mobilenet_v1"], "not allowed with argument --packs"),
        ("int8_calibration", ["--methods", ""], "--methods: '' is unknown"),
        ("int8_calibration", ["--backbone", "/nope"], "--backbone: /nope is no file"),
    ],
)
def test_wrong_use_is_one_line(module, more, said, data, monkeypatch, capsys):
    line = refused(module, data, [m.replace("HERE", str(data)) for m in more], monkeypatch, capsys)
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize("module", ["", ".zero_shot"])
@pytest.mark.parametrize("more", [[], ["--help"]])
def test_without_torch_a_line_says_how_to_get_it(module, more, tmp_path):
    """Python without its installed packages but those that `t2m-edge` needs."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'torch' else find(name, *more)\n"
        "import sys\nsys.modules['torch'] = None\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", f"t2m_edge.evaluation{module}", *more],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        'error: the accuracy study needs torch, which is not installed; pip install "t2m-edge[study]"\n'
    )


def test_a_run_that_was_stopped_goes_on_at_its_next_part(tmp_path):
    made = []

    def make(numbers: range) -> np.ndarray:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(numbers)
        return np.array(numbers)[:, None]

    path = tmp_path / "cache" / "features.npz"
    with pytest.raises(KeyboardInterrupt):
        in_parts(path, 2 * PART + 5, make)
    found = in_parts(path, 2 * PART + 5, lambda numbers: np.array(numbers)[:, None])
    np.testing.assert_array_equal(found[:, 0], np.arange(2 * PART + 5))
    assert [n.start for n in made] == [0, PART]
    keep(path, found=found)
    drop_parts(path, len(found))
    assert [p.name for p in path.parent.iterdir()] == ["features.npz"]


def test_what_is_kept_is_whole_or_not_there(tmp_path):
    class Broken:
        def __array__(self, *args: object, **more: object) -> np.ndarray:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        keep(tmp_path / "x.npz", good=np.ones(3), bad=Broken())
    assert list(tmp_path.iterdir()) == []
