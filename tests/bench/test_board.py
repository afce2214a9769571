"""The board program and its way to a board: a real sshd on this machine, and a plain shell in its place."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from t2m_bench.board.building import ARCHITECTURES, MAX_BYTES, architecture_of, board_program
from t2m_bench.devices import open_device
from t2m_bench.devices.board import ENDED, RUNS, Board, Transport
from t2m_bench.profiles import CORE
from t2m_bench.request import Request
from t2m_edge.cli.main import run
from t2m_runtime import Classifier
from t2m_runtime.errors import InputError

QEMU = {"aarch64": "qemu-aarch64", "armv7": "qemu-arm", "riscv64": "qemu-riscv64"}


def program(architecture: str) -> Path:
    try:
        return board_program(architecture)
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def board(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """This machine behind a shell, as a board that has only that; TMPDIR is a folder of the test."""
    program(architecture_of(platform.machine()))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "board"))
    (tmp_path / "board").mkdir()
    return Board(Transport("a shell", ("sh", "-c")))


def left(folder: Path) -> list[str]:
    return [path.name for path in (folder / "board").rglob("*")]


def test_everything_is_measured_and_nothing_stays(board: Board, model: Path, head: Path, tmp_path: Path) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (5, 96, 96, 3), np.uint8)
    np.save(tmp_path / "photos.npy", photos)
    request = Request((str(model),), seconds=0.2, head=str(head), photos=str(tmp_path / "photos.npy"), profile=True)
    board.check([request])
    (found,), before, after = board.measure(request)
    assert found.profiler == CORE and found.profile[-1][0] == "the head"
    assert all(t >= 0 for _, _, t in found.profile) and sum(t for _, _, t in found.profile) > 0
    assert found.engine.startswith("core ") and len(found.blocks) == 10 and len(found.runs) >= 10
    assert min(found.runs) > 0 and found.load > 0 and found.first > 0
    assert len(found.prepare) == len(found.frame) == 30 and len(found.swap) == 200
    assert found.memory["arena"] > 10_000 and 1 < found.memory["peak"] < 50
    with Classifier.load(model, engine="litert-reference") as classifier:
        assert found.named == tuple(int(classifier.scores(photo).argmax()) for photo in photos)
    assert board.machine().processor and before.load is not None and after.load is not None
    assert left(tmp_path) == []


@pytest.mark.parametrize("tools", ["busybox", "toybox"])
def test_the_few_tools_of_boards_and_phones_are_enough(board: Board, model: Path, tmp_path: Path, tools: str) -> None:
    """busybox (boards) and toybox (Android) in the place of everything that this machine has."""
    found = shutil.which(tools)
    if not found:
        pytest.skip(f"no {tools} here")
    listing = [found, "--list"] if tools == "busybox" else [found]
    names = subprocess.run(listing, capture_output=True, text=True).stdout.split()
    (tmp_path / "bin").mkdir()
    for name in ["sh", *names]:
        target = tmp_path / "bin" / name
        target.unlink(missing_ok=True)
        target.symlink_to(found if name in names else shutil.which("sh") or "")
    environment = ("env", "-i", f"PATH={tmp_path / 'bin'}", f"TMPDIR={tmp_path / 'board'}")
    board._transport = Transport(tools, (*environment, "sh", "-c"))
    request = Request((str(model),), seconds=0.1)
    board.check([request])
    (measured,), state, _ = board.measure(request)
    assert len(measured.runs) >= 10 and state.load is not None
    assert left(tmp_path) == []


def test_two_models_take_turns(board: Board, model: Path) -> None:
    request = Request((str(model), str(model)), seconds=0.1)
    board.check([request])
    measured, _, _ = board.measure(request)
    assert [len(m.blocks) for m in measured] == [10, 10]


def test_what_a_board_cannot_do_is_said_before_it_starts(board: Board, model: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.onnx"
    foreign.write_bytes(b"\x08\x09")
    for request, words in (
        (Request((str(model),), threads=2), "one thread"),
        (Request((str(model),), meter="powercap"), "--meter"),
        (Request((str(model),), engine="tflite_runtime"), "needs Python"),
    ):
        with pytest.raises(InputError, match=words):
            board.check([request])


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("cat >/dev/null; exit 97", "no folder there"),
        ("cat >/dev/null; echo 'tar: write error: No space left on device' >&2; exit 98", "No space left"),
        (
            "cat >/dev/null; echo './board: cannot execute binary file: Exec format error' >&2; exit 126",
            "does not start",
        ),
        ("cat >/dev/null; exit 137", "killed"),
        ("cat >/dev/null", "was lost"),
        (f"cat >/dev/null; printf '\\n{RUNS}\\n[{{'", "was lost"),
        (f"cat >/dev/null; printf '\\n{RUNS}\\n[{{}}]\\n\\n{ENDED}\\n'", "no sense"),
        (f"cat >/dev/null; printf '\\n{RUNS}\\n3\\n\\n{ENDED}\\n'", "no sense"),
        ("cat >/dev/null; echo 'model0.tflite: larger than the free memory' >&2; exit 2", "free memory"),
        ("echo 'ssh: connect to host h port 22: Connection refused' >&2; exit 255", "Connection refused"),
    ],
)
def test_what_goes_wrong_there_is_one_line(board: Board, model: Path, script: str, words: str) -> None:
    """The answers of a failing board, word for word as ssh and busybox give them."""
    request = Request((str(model),), seconds=0.1)
    board.check([request])
    board._transport = Transport("a board", ("sh", "-c", f'case $0 in *board*) {script};; *) eval "$0";; esac'), 255)
    with pytest.raises(InputError, match=words):
        board.measure(request)


def test_a_full_disk_leaves_nothing(board: Board, model: Path, tmp_path: Path) -> None:
    """A real one: files of at most 100 kB may be written, so that unpacking fails half way."""
    request = Request((str(model),), seconds=0.1)
    board.check([request])
    board._transport = Transport("a board", ("sh", "-c", 'ulimit -f 200; eval "$0"'))
    with pytest.raises(InputError, match=r"cannot be unpacked|a board"):
        board.measure(request)
    assert left(tmp_path) == []


def test_ssh_end_to_end(sshd, cache, model: Path, head: Path, monkeypatch, tmp_path: Path, capsys) -> None:
    program(architecture_of(platform.machine()))
    target, monkeypatch_value = sshd
    monkeypatch.setenv("T2M_SSH", monkeypatch_value)
    before = set(os.listdir("/tmp"))
    report = tmp_path / "report.html"
    arguments = ["bench", str(model), "--device", f"ssh:{target}", "--seconds", "1", "--head", str(head)]
    code = run([*arguments, "--report", str(report), "--json"])
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert code == 0 and found["device"] == f"ssh:{target}" and found["runs"]["count"] > 5
    assert found["swap"] and found["memory"]["arena"] and report.stat().st_size > 10_000
    assert not left_behind(before)


def left_behind(before: set[str]) -> list[str]:
    """Folders of the board's side that are new in /tmp."""
    return [name for name in set(os.listdir("/tmp")) - before if name.startswith("t2m-edge")]


def test_a_lost_connection_is_one_line_and_nothing_stays(sshd, cache, model: Path, monkeypatch, capsys) -> None:
    """The connection is cut in the middle of a long steady state; the first run's result is kept."""
    program(architecture_of(platform.machine()))
    target, command = sshd
    monkeypatch.setenv("T2M_SSH", command)
    device = open_device(f"ssh:{target}")
    request = Request((str(model),), seconds=30)
    device.check([request])

    def cut() -> None:
        for _ in range(100):
            found = subprocess.run(
                ["pgrep", "-f", f"ssh .*{target.split('@')[0]}.*milliseconds=30000"], capture_output=True
            )
            if pids := found.stdout.split():
                time.sleep(1.5)
                for pid in pids:
                    if "ssh" in Path(f"/proc/{int(pid)}/comm").read_text():
                        os.kill(int(pid), 9)
                return
            time.sleep(0.1)

    before = set(os.listdir("/tmp"))
    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(InputError, match=r"ssh:"):
        device.measure(request)
    thread.join()
    deadline = time.monotonic() + 20  # the board notices the hang-up, and clears up, a moment later
    while left_behind(before) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_behind(before)


def test_a_host_that_is_not_there_is_one_line(model: Path, capsys, monkeypatch) -> None:
    if not shutil.which("ssh"):
        pytest.skip("no ssh here")
    monkeypatch.setenv("T2M_SSH", "ssh -F /dev/null -p 9")
    assert run(["bench", str(model), "--device", "ssh:nobody@127.0.0.1"]) == 2
    assert "Connection refused" in capsys.readouterr().err.splitlines()[-1]
    assert run(["bench", str(model), "--device", "adb:nothing"]) == 2
    assert "adb" in capsys.readouterr().err.splitlines()[-1]
    assert run(["bench", str(model), "--device", "board"]) == 2
    assert "--device" in capsys.readouterr().err.splitlines()[-1]


def test_unknown_processors_are_named() -> None:
    assert architecture_of("arm64") == "aarch64" and architecture_of("armv7l") == "armv7"
    with pytest.raises(InputError, match="mips"):
        architecture_of("mips")


@pytest.mark.slow
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_the_program_is_small_and_runs(cache: Path, model: Path, head: Path, architecture: str, tmp_path: Path) -> None:
    path = program(architecture)
    assert path.stat().st_size <= MAX_BYTES
    emulator = [] if architecture == platform.machine() else [shutil.which(QEMU[architecture]) or ""]
    if emulator == [""]:
        pytest.skip(f"{QEMU[architecture]} is not installed")
    words = [*emulator, str(path), "count=swap", "times=3", f"head={head}", str(model)]
    found = json.loads(subprocess.run(words, capture_output=True, check=True, timeout=300).stdout)
    assert found["arena"] == 93_488
