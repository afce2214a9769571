"""A whole arm64 board, booted in qemu: Debian's kernel, busybox, dropbear, 64 MB of /tmp. Nothing else is on it."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2m_bench.board.building import board_program
from t2m_edge.cli.main import run
from t2m_runtime.errors import InputError

pytestmark = pytest.mark.slow
PACKAGES = "linux-image-cloud-arm64,busybox-static,dropbear-bin"
MODULES = ("virtio", "virtio_ring", "virtio_mmio", "failover", "net_failover", "virtio_net")
LIBRARIES = (
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libcrypt.so.1",
    "libtomcrypt.so.1",
    "libtommath.so.1",
    "libgmp.so.10",
    "libz.so.1",
)
INIT = f"""#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts; mount -t devpts pts /dev/pts; mount -t tmpfs -o size=64m tmp /tmp
for m in {" ".join(MODULES)}; do [ -f /mod/$m.ko ] && insmod /mod/$m.ko; done
ifconfig lo 127.0.0.1 up; ifconfig eth0 10.0.2.15 up; route add default gw 10.0.2.2
exec dropbear -R -F -p 22
"""


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    """A cpio archive in the kernel's newc form (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    made = bytearray()
    for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        made += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        made += bytes(-len(made) % 4) + data
        made += bytes(-len(made) % 4)
    return bytes(made)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's packages for arm64, unpacked."""
    for program in ("mmdebstrap", "qemu-system-aarch64", "ssh", "ssh-keygen"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    folder, sources = tmp_path_factory.mktemp("mini"), Path("/etc/apt/sources.list.d/debian.sources")
    keys = [p for p in Path("/usr/share/keyrings").glob("debian-archive-keyring*") if p.is_file()]
    lines = [line for line in sources.read_text().splitlines() if line.startswith("URIs:")] if sources.is_file() else []
    if not lines or not keys:
        pytest.skip("no Debian mirror among this machine's sources")
    source = f"deb [signed-by={keys[0]}] {lines[0].split()[1]} bookworm main"
    words = [
        "mmdebstrap",
        "--variant=extract",
        "--arch=arm64",
        f"--include={PACKAGES}",
        "bookworm",
        str(folder / "root"),
    ]
    if subprocess.run([*words, source], capture_output=True, timeout=900).returncode:
        pytest.skip("Debian's packages cannot be fetched")
    return folder / "root"


@pytest.fixture
def board(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[tuple[str, object]]:
    """(USER@HOST:PORT, a function that runs a command there); switched off at the end."""
    try:
        board_program("aarch64")
    except InputError as error:
        pytest.skip(str(error))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    folder, program = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755
    names = ("bin", "lib", "mod", "proc", "sys", "dev", "tmp", "etc", "etc/dropbear", "run")
    files = dict.fromkeys(names, (folder, b""))
    files |= {"root": (stat.S_IFDIR | 0o700, b""), "root/.ssh": (stat.S_IFDIR | 0o700, b"")}
    files["root/.ssh/authorized_keys"] = (stat.S_IFREG | 0o600, (tmp_path / "key.pub").read_bytes())
    files["etc/passwd"] = (program, b"root:x:0:0:root:/root:/bin/sh\n")
    files["etc/shells"] = (program, b"/bin/sh\n")
    files["bin/sh"] = (stat.S_IFLNK | 0o777, b"busybox")
    files["init"] = (program, INIT.encode())
    wanted = {f"mod/{m}.ko": f"{m}.ko" for m in MODULES} | {f"lib/{name}": name for name in LIBRARIES}
    wanted |= {"bin/busybox": "bin/busybox", "bin/dropbear": "sbin/dropbear"}
    for place, name in wanted.items():
        found = [p for p in root.rglob(name) if p.is_file()]
        if found:
            files[place] = (program, found[0].read_bytes())
    (tmp_path / "initrd").write_bytes(gzip.compress(archive(files), 1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kernel = next((root / "boot").glob("vmlinuz-*"))
    command = ["qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72", "-smp", "2", "-m", "512", "-no-reboot"]
    command += [
        "-kernel",
        str(kernel),
        "-initrd",
        str(tmp_path / "initrd"),
        "-append",
        "console=ttyAMA0 panic=-1 quiet",
    ]
    command += ["-netdev", f"user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"]
    command += ["-device", "virtio-net-device,netdev=n", "-display", "none", "-monitor", "none"]
    machine = subprocess.Popen([*command, "-serial", f"file:{tmp_path / 'serial'}"])
    options = "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no -o LogLevel=ERROR"
    ssh = f"ssh -F /dev/null -i {tmp_path / 'key'} {options}"
    monkeypatch.setenv("T2M_SSH", ssh)

    def there(command: str) -> str:
        words = [*shlex.split(ssh), "-o", "ConnectTimeout=5", "-p", str(port), "root@127.0.0.1", command]
        return subprocess.run(words, capture_output=True, text=True).stdout

    for _ in range(60):
        assert machine.poll() is None, (tmp_path / "serial").read_text(errors="replace")[-500:]
        if "up" in there("echo up"):
            break
        time.sleep(2)
    there.machine = machine
    yield f"root@127.0.0.1:{port}", there
    machine.kill()
    machine.wait()


def bench(capsys, *arguments: object) -> tuple[int, str, str]:
    code = run(["bench", *map(str, arguments)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_a_board_with_nothing_on_it(board, model: Path, head: Path, capsys) -> None:
    target, there = board
    code, out, err = bench(capsys, model, "--device", f"ssh:{target}", "--seconds", 1, "--head", head, "--json")
    assert code == 0, err
    (found,) = json.loads(out)["results"]
    assert found["machine"]["architecture"] == "aarch64" and found["machine"]["cores"] == 2
    assert found["engine"].startswith("core") and "neon" in found["engine"] and found["memory"]["peak"] < 10
    assert there("ls /tmp").split() == []

    # Another folder is taken where /tmp is full; one line where none is left.
    there("dd if=/dev/zero of=/tmp/fill bs=1M")
    assert bench(capsys, model, "--device", f"ssh:{target}", "--seconds", 0.1)[0] == 0
    there("rm /tmp/fill; mount -o bind /root /root; mount -o remount,ro,bind /root; mount -o remount,noexec /tmp")
    code, _, err = bench(capsys, model, "--device", f"ssh:{target}")
    assert code == 2 and "no folder there may be written to and run from" in err
    there("mount -o remount,exec,size=1m /tmp")
    code, _, err = bench(capsys, model, "--device", f"ssh:{target}")
    assert code == 2 and "No space left" in err
    assert there("ls /tmp").split() == []


def test_unplugged_half_way(board, model: Path, capsys) -> None:
    target, there = board

    command = f"sleep 8; kill -9 {there.machine.pid}"
    code, out, _ = bench(capsys, model, "--device", f"ssh:{target}", "--seconds", 0.1, "--json")
    assert code == 0 and json.loads(out)["results"]
    killer = subprocess.Popen(["sh", "-c", command])
    code, _, err = bench(capsys, model, "--device", f"ssh:{target}", "--seconds", 60)
    killer.wait()
    assert code == 2 and f"ssh:{target}" in err.splitlines()[-1]
    _, out, _ = bench(capsys, "history", "--json")
    assert len(json.loads(out)["results"]) == 1
