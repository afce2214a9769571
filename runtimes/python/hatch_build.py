"""Puts the compiled C core into the wheel where a compiler is named; otherwise the wheel is pure Python.

    T2M_CORE_CC=gcc pip wheel --no-deps ./runtimes/python
    T2M_CORE_CC=aarch64-linux-gnu-gcc T2M_CORE_PLATFORM=manylinux2014_aarch64 pip wheel --no-deps ./runtimes/python

The library calls nothing outside itself, so that one wheel serves every Python and every libc of its platform.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import tempfile
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CORE = Path(__file__).resolve().parents[1] / "c"
FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared", "-ffp-contract=off", "-ffreestanding", "-nostdlib", "-DT2M_OWN_MEMORY")


class CoreBuildHook(BuildHookInterface):
    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict) -> None:
        compiler = os.environ.get("T2M_CORE_CC")
        if not compiler or self.target_name != "wheel" or version == "editable":
            return
        sources = sorted((CORE / "src").glob("*.c"))
        if not sources:
            raise RuntimeError(f"T2M_CORE_CC is set and {CORE} has no sources; build from a clone of the repository")
        target = Path(tempfile.mkdtemp()) / "t2m_core.so"
        command = [*shlex.split(compiler), *FLAGS, f"-I{CORE / 'include'}", *map(str, sources), "-o", str(target)]
        subprocess.run(command, check=True)
        tag = os.environ.get("T2M_CORE_PLATFORM") or f"manylinux2014_{platform.machine()}"
        build_data["force_include"][str(target)] = "t2m_runtime/t2m_core.so"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{tag}"
