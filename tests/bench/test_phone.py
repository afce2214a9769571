"""A phone over adb: Android's own adbd, shell (mksh) and tools (toybox), in a root and a network of their own.

The packages are Debian's. Nothing else is there: no /tmp, no tar but toybox's. T2M_ADB_SERIAL names a real phone, too.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from t2m_bench.board.building import architecture_of, board_program
from t2m_edge.cli.main import run
from t2m_runtime.errors import InputError

pytestmark = pytest.mark.slow
TOOLS = ("adb", "mmdebstrap", "unshare", "ip", "chroot")
SERIAL = "127.0.0.1:5555"
START = """
ip link set lo up && mount -t proc proc {root}/proc && mount --rbind /sys {root}/sys && mount --rbind /dev {root}/dev
chroot {root} /usr/lib/android-sdk/platform-tools/adbd &
adb -L localfilesystem:{socket} nodaemon server
sleep 600 # the phone outlives its cable: everything in here ends with this shell
"""


@dataclass(frozen=True)
class Phone:
    """root: its files, seen from here. unplug: ends adb's server, and so every connection, as a pulled cable does."""

    serial: str
    root: Path
    unplug: Callable[[], None]

    def left(self) -> list[str]:
        """Files that stay in the folder that a phone lends to its shell."""
        return [path.name for path in (self.root / "data/local/tmp").rglob("*")]

    def wait_until_empty(self) -> None:
        """The phone notices a hang-up, and clears up, a moment later."""
        deadline = time.monotonic() + 30
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert self.left() == []

    def replace(self, tool: str, script: str) -> None:
        """One of its tools, by a script that may call toybox."""
        path = self.root / "usr/bin" / tool
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, unpacked."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing or os.getuid() != 0:
        pytest.skip(f"not installed, or not root: {', '.join(missing) or 'uid'}")
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    lines = [line for line in sources.read_text().splitlines() if line.startswith("URIs:")] if sources.is_file() else []
    keys = [p for p in Path("/usr/share/keyrings").glob("debian-archive-keyring*") if p.is_file()]
    if not lines or not keys:
        pytest.skip("no Debian mirror among this machine's sources")
    root = tmp_path_factory.mktemp("phone") / "root"
    source = f"deb [signed-by={keys[0]}] {lines[0].split()[1]} trixie main"
    command = ["mmdebstrap", "--variant=extract", "--include=adbd,mksh,toybox", "trixie", str(root), source]
    if subprocess.run(command, capture_output=True, timeout=900).returncode:
        pytest.skip("Debian's packages cannot be fetched")
    return root


@pytest.fixture
def phone(debian: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    """A fresh one, connected; adb's server is on a socket of the test, the user's own stays as it is."""
    try:
        board_program(architecture_of(platform.machine()))
    except InputError as error:
        pytest.skip(str(error))
    root = tmp_path / "root"
    subprocess.run(["cp", "-a", str(debian), str(root)], check=True)  # its /dev has devices, which copytree would read
    for name in ("lib", "lib64", "bin", "sbin"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("proc", "sys", "root", "data/local/tmp"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").rmdir()
    names = subprocess.run([root / "usr/bin/toybox"], capture_output=True, text=True).stdout.split()
    for name in names:
        if not (root / "usr/bin" / name).exists() and name != "sh":
            (root / "usr/bin" / name).symlink_to("toybox")
    (root / "usr/bin/sh").symlink_to("mksh")
    monkeypatch.delenv("ADB_VENDOR_KEYS", raising=False)
    # A socket's path has at most 107 characters, and pytest's folders are long.
    with (tmp_path / "log").open("w") as log, tempfile.TemporaryDirectory(prefix="adb") as folder:
        monkeypatch.setenv("ADB_SERVER_SOCKET", f"localfilesystem:{folder}/server")
        script = START.format(root=root, socket=f"{folder}/server")
        inside = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", script]
        machine = subprocess.Popen(inside, stdout=log, stderr=log)

        def unplug() -> None:
            subprocess.run(["adb", "kill-server"], capture_output=True, timeout=20)

        try:
            connect(machine, Path(folder) / "server", tmp_path / "log")
            yield Phone(SERIAL, root, unplug)
        finally:
            machine.kill()
            machine.wait()


def connect(machine: subprocess.Popen, server: Path, log: Path) -> None:
    """Waits for adb's server first: without one, adb starts its own, outside of the phone's network."""
    deadline = time.monotonic() + 120
    said = ""
    while "connected to" not in said:
        time.sleep(0.2)
        if not server.exists() and machine.poll() is None and time.monotonic() < deadline:
            continue
        if machine.poll() is not None:
            pytest.skip(f"no namespaces or no adbd here: {log.read_text()[-300:]}")
        assert time.monotonic() < deadline, said + log.read_text()[-1000:]
        done = subprocess.run(["adb", "connect", SERIAL], capture_output=True, text=True, timeout=60)
        said = done.stdout + done.stderr


def bench(capsys, *arguments: object) -> tuple[int, str, str]:
    code = run(["bench", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_phone_with_nothing_installed(phone: Phone, model: Path, head: Path, capsys) -> None:
    code, out, err = bench(
        capsys, model, "--device", f"adb:{phone.serial}", "--seconds", 1, "--head", head, "--profile", "--json"
    )
    assert code == 0, err
    (found,) = json.loads(out)["results"]
    assert (
        found["device"] == f"adb:{phone.serial}" and found["engine"].startswith("core") and found["runs"]["count"] > 5
    )
    assert found["swap"] and found["profile"] and found["memory"]["arena"] and found["before"]["load"] is not None
    assert phone.left() == []


def test_unplugged_while_it_measures_keeps_what_was_there(phone: Phone, model: Path, tmp_path: Path, capsys) -> None:
    other = shutil.copy(model, tmp_path / "other.tflite")
    start = threading.Thread(target=lambda: (wait_for_program(phone, "model0", 2), time.sleep(1), phone.unplug()))
    start.start()
    code, out, err = bench(
        capsys, model, other, "--device", f"adb:{phone.serial}", "--seconds", 5, "--cooldown", 0, "--json"
    )
    start.join()
    assert code == 2 and f"adb:{phone.serial}" in err.splitlines()[-1]
    assert [r["name"] for r in json.loads(out)["results"]] == [model.name]
    _, out, _ = bench(capsys, "history", "--json")
    assert len(json.loads(out)["results"]) == 1
    phone.wait_until_empty()


def wait_for_program(phone: Phone, word: str, times: int) -> None:
    """Until the board program has been started so often."""
    seen: set[str] = set()
    deadline = time.monotonic() + 120
    while len(seen) < times and time.monotonic() < deadline:
        done = subprocess.run(["pgrep", "-f", f"^./board .*{word}"], capture_output=True, text=True)
        seen |= set(done.stdout.split())
        time.sleep(0.1)


def test_unplugged_while_files_are_sent_leaves_nothing(phone: Phone, model: Path, capsys) -> None:
    phone.replace("tar", 'echo > /data/local/tar; toybox sleep 3; exec toybox tar "$@"')

    def cut() -> None:
        deadline = time.monotonic() + 60
        while not (phone.root / "data/local/tar").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        phone.unplug()

    thread = threading.Thread(target=cut)
    thread.start()
    code, _, err = bench(capsys, model, "--device", f"adb:{phone.serial}", "--seconds", 1)
    thread.join()
    assert code == 2 and f"adb:{phone.serial}" in err.splitlines()[-1]
    phone.wait_until_empty()


def test_another_processor_than_it_says_is_one_line(phone: Phone, model: Path, capsys) -> None:
    other = "riscv64" if platform.machine() != "riscv64" else "aarch64"
    try:
        board_program(other)
    except InputError as error:
        pytest.skip(str(error))
    phone.replace("uname", f'[ "$1" = -m ] && echo {other} || exec toybox uname "$@"')
    code, _, err = bench(capsys, model, "--device", f"adb:{phone.serial}", "--seconds", 1)
    assert code == 2 and f"the program for {other} does not start there" in err.splitlines()[-1]
    phone.replace("uname", '[ "$1" = -m ] && echo mips || exec toybox uname "$@"')
    code, _, err = bench(capsys, model, "--device", f"adb:{phone.serial}", "--seconds", 1)
    assert code == 2 and "processor is mips" in err.splitlines()[-1]
    assert phone.left() == []


def test_a_serial_that_is_not_there_is_one_line(phone: Phone, model: Path, capsys) -> None:
    code, _, err = bench(capsys, model, "--device", "adb:emulator-1")
    assert code == 2 and "emulator-1" in err.splitlines()[-1]


def test_a_real_phone(cache: Path, model: Path, head: Path, capsys) -> None:
    serial = os.environ.get("T2M_ADB_SERIAL")
    if not serial or not shutil.which("adb"):
        pytest.skip("no T2M_ADB_SERIAL, or no adb")
    code, out, err = bench(capsys, model, "--device", f"adb:{serial}", "--seconds", 1, "--head", head, "--json")
    assert code == 0, err
    (found,) = json.loads(out)["results"]
    assert found["runs"]["count"] > 5 and found["swap"]
