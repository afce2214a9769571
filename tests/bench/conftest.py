"""A small real model, its head file, and boards to measure it on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import t2m_edge

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grocery example, int8 .tflite."""
    path = tmp_path_factory.mktemp("model") / "grocery.tflite"
    t2m_edge.compile(ROOT / "examples" / "grocery.txt", path)
    return path


@pytest.fixture(scope="session")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head file for the same backbone."""
    path = tmp_path_factory.mktemp("head") / "drinks.t2mh"
    t2m_edge.compile(ROOT / "examples" / "drinks.yaml", path, target="head")
    return path


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results are kept in the test's own folder."""
    monkeypatch.setenv("T2M_BENCH_DB", str(tmp_path / "bench.sqlite"))
    return tmp_path / "bench.sqlite"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of board programs for this test run; the user's own stays as it is."""
    folder, before = tmp_path_factory.mktemp("cache"), os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A real sshd on this machine, run by the user of the test: (USER@HOST:PORT, what T2M_SSH must be)."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not (program and shutil.which("ssh") and shutil.which("ssh-keygen")):
        pytest.skip("no sshd here; install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile {folder / 'pid'}\nStrictModes no\nUsePAM no\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    server = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
    options = "-o StrictHostKeyChecking=no -o IdentitiesOnly=yes"
    ssh = f"ssh -F /dev/null -i {folder / 'user'} -o UserKnownHostsFile={folder / 'known'} {options}"
    user = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    for _ in range(50):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"{user}@127.0.0.1:{port}", ssh
    server.terminate()
    server.wait()
