"""Builds the board program for an architecture, once: a static file of some 60 kB, kept in the user's cache.

A compiler is needed: the ziglang package (``pip install 't2m-edge[board]'``), which compiles for every architecture, or
a gcc for that architecture (Debian: gcc-aarch64-linux-gnu, gcc-arm-linux-gnueabihf, gcc-riscv64-linux-gnu).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from t2m_runtime.errors import InputError, WorkError

HERE = Path(__file__).parent
FLAGS = (
    "-std=c11", "-O2", "-ffp-contract=off", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector",
    "-fno-sanitize=undefined", "-fno-pic", "-s",
)  # fmt: skip
MAX_BYTES = 150_000


@dataclass(frozen=True)
class Architecture:
    """The words that make each compiler write for it. zig: after `zig cc`; gcc: the command."""

    zig: tuple[str, ...]
    gcc: tuple[str, ...]


ARCHITECTURES = {
    "x86_64": Architecture(("-target", "x86_64-linux-musl"), ("x86_64-linux-gnu-gcc",)),
    "aarch64": Architecture(("-target", "aarch64-linux-musl"), ("aarch64-linux-gnu-gcc",)),
    "armv7": Architecture(
        ("-target", "arm-linux-musleabihf", "-mcpu=cortex_a8"), ("arm-linux-gnueabihf-gcc", "-march=armv7-a+fp")
    ),
    "riscv64": Architecture(("-target", "riscv64-linux-musl"), ("riscv64-linux-gnu-gcc",)),
}


def architecture_of(machine: str) -> str:
    """An architecture by what `uname -m` says.

    Raises:
        InputError: the program is not made for it.
    """
    known = {"amd64": "x86_64", "arm64": "aarch64", "armv8l": "armv7", "armv7l": "armv7"}
    name = known.get(machine, machine)
    if name not in ARCHITECTURES:
        raise InputError(f"the device's processor is {machine}; boards are measured on {', '.join(ARCHITECTURES)}")
    return name


def core_folder() -> Path:
    """Where the C core's include and src lie: beside this file in the wheel, in runtimes/c in the repository."""
    for folder in (HERE / "core", HERE.parents[2] / "runtimes" / "c"):
        if (folder / "include" / "t2m.h").is_file():
            return folder
    raise InputError("the C core's sources are missing from this installation; install t2m-edge again")


def core_includes() -> list[str]:
    """The compiler's flags for profiled_core."""
    return [f"-I{core_folder() / 'include'}", f"-I{core_folder() / 'src'}"]


def profiled_core() -> list[Path]:
    """The core's sources, with profile.c in the place of the one that it contains."""
    return [HERE / "profile.c", *sorted(p for p in (core_folder() / "src").glob("*.c") if p.name != "model.c")]


def board_program(architecture: str) -> Path:
    """The program's path; built now if it is not in the cache.

    Raises:
        InputError: no compiler for the architecture.
        WorkError: the compiler failed, or the program is too large.
    """
    command = _compiler(architecture)
    core = core_folder()
    sources = [HERE / "board.c", *profiled_core()]
    read = [*sources, *sorted(HERE.glob("*.h")), core / "include" / "t2m.h", *sorted((core / "src").glob("*.[ch]"))]
    digest = hashlib.sha256(" ".join([*command, *FLAGS]).encode())
    for path in read:
        digest.update(path.read_bytes())
    target = cache_folder() / f"board-{architecture}-{digest.hexdigest()[:16]}"
    if not target.is_file():
        compile_aside([*command, *FLAGS, *core_includes(), *map(str, sources), "-lgcc"], target)
        if target.stat().st_size > MAX_BYTES:
            raise WorkError(f"the board program has {target.stat().st_size:,} bytes, over {MAX_BYTES:,}")
    return target


def compile_aside(command: list[str], target: Path) -> None:
    """Runs a compiler that writes aside, then renames.

    Raises:
        InputError: the cache cannot be written to.
        WorkError: it failed.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = tempfile.TemporaryDirectory(dir=target.parent)
    except OSError as error:
        raise InputError(
            f"{target.parent} cannot hold built programs ({error.strerror}); name another cache with $XDG_CACHE_HOME"
        ) from None
    with aside as folder:
        made = Path(folder) / "made"
        environment = {"ZIG_GLOBAL_CACHE_DIR": str(cache_folder() / "zig"), **os.environ}
        done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, env=environment)
        if done.returncode:
            said = " ".join(done.stderr[-400:].split())
            raise WorkError(f"{target.name} does not compile with {' '.join(command[:3])}: {said}")
        os.replace(made, target)


def cache_folder() -> Path:
    """Where built programs are kept: $XDG_CACHE_HOME or ~/.cache, then t2m-edge/board."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "t2m-edge" / "board"


def _compiler(architecture: str) -> list[str]:
    chosen = ARCHITECTURES[architecture]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc", *chosen.zig]
    gcc, *flags = (*chosen.gcc, "-no-pie", "-fno-tree-loop-distribute-patterns")
    for name in ("gcc",) * (architecture == platform.machine()) + (gcc,):
        if shutil.which(name):
            return [name, *flags]
    raise InputError(
        f'measuring on {architecture} boards needs a C compiler once: pip install "t2m-edge[board]", or {gcc}'
    )


def host_compiler() -> list[str]:
    """A C compiler for this machine.

    Raises:
        InputError: there is none.
    """
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    for name in ("gcc", "clang", "cc"):
        if shutil.which(name):
            return [name]
    raise InputError('this needs a C compiler once: pip install "t2m-edge[board]", or gcc')
