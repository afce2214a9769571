"""A study that is started on missing data says what to put where."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
from t2m_edge.evaluation.__main__ import arguments, main, run
from t2m_edge.evaluation.sources import Sources
from t2m_runtime import InputError


def options(tmp_path: Path, *more: str) -> list[str]:
    (tmp_path / "text").mkdir()
    return ["--shared", str(tmp_path), "--cache", str(tmp_path / "cache"), "--encoder", str(tmp_path / "text"), *more]


def test_missing_data_is_one_line_and_exit_code_2(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["study", *options(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "splits.json is missing: put the study's data folder there" in line


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--methods", "guessing"], "--methods: 'guessing' is unknown"),
        (["--datasets", "mnist"], "--datasets: 'mnist' is unknown"),
        (["--backbones", "vgg"], "--backbones: 'vgg' is unknown"),
        (["--splits", "0,9"], "--splits: '9' is unknown"),
    ],
)
def test_unknown_names_are_refused(tmp_path: Path, more: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(arguments().parse_args(options(tmp_path, *more)))


def test_packs_that_are_not_there_are_named(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "descriptions").mkdir(parents=True)
    for name in ("splits.json", "grocery.tar"):
        (data / name).touch()
    with pytest.raises(InputError, match="name the folder that holds strict-0"):
        Sources(tmp_path, tmp_path, None, [], False).check(["strict"], ["grocery"], ("0",))
    with pytest.raises(InputError, match="strict-0 is no pack"):
        Sources(tmp_path, tmp_path, tmp_path, [], False).check(["strict"], ["grocery"], ("0",))
    with pytest.raises(InputError, match="mobilenet_v1_1.0_224"):
        Sources(tmp_path, tmp_path, None, [], False).check(["mobilenet_v1"], ["grocery"], ("0",))


def test_strict_sets_are_a_page_of_their_own_on_cifar_100(tmp_path: Path) -> None:
    sources = Sources(tmp_path, tmp_path, tmp_path, [], False)
    (tmp_path / "strict-unseen").mkdir()
    wanted = ("0", "1", "strict_unseen", "strict_unseen_2")
    assert sources.splits("mobilenet_v1", "cifar100", wanted) == [("0", "1"), ("strict_unseen", "strict_unseen_2")]
    assert sources.splits("mobilenet_v1", "grocery", wanted) == [("0", "1")]
    assert sources.splits("strict", "cifar100", wanted) == [("0", "1"), ("strict_unseen",)]
