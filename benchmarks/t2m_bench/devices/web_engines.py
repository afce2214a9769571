"""The engines that a browser page runs, and where their files are: ours is built here, the others are npm packages."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from t2m_bench.board.building import HERE, cache_folder, compile_aside, core_folder
from t2m_runtime.errors import InputError

MODULES = "T2M_WEB_MODULES"


@dataclass(frozen=True)
class Package:
    """An npm package: name, the version that was tried, the file that is imported, and other imports that it makes."""

    name: str
    version: str
    script: str
    imports: tuple[tuple[str, str], ...] = ()


PACKAGES = {
    "onnxruntime": Package("onnxruntime-web", "1.30.0", "dist/ort.wasm.min.mjs"),
    "litert": Package(
        "@litertjs/core", "2.5.3", "dist/index.js", (("@litertjs/wasm-utils", "@litertjs/wasm-utils/dist/index.js"),)
    ),
}


def find_package(engine: str) -> Path:
    """The node_modules folder that holds an engine's package: $T2M_WEB_MODULES, the working folder's, or the cache's.

    Raises:
        InputError: it is in none; with the line that installs it.
    """
    package, named, cache = PACKAGES[engine], os.environ.get(MODULES), cache_folder().parent / "web"
    folders = [Path(named)] if named else [Path.cwd() / "node_modules", cache / "node_modules"]
    wanted = [f"{package.name}/{package.script}", *(path for _, path in package.imports)]
    for folder in folders:
        if all((folder / path).is_file() for path in wanted):
            return folder
    if named:
        raise InputError(f"${MODULES}: {named} has no {package.name}; name a node_modules folder that has it")
    raise InputError(
        f"--engine {engine} in the browser needs {package.name}: npm install --ignore-scripts --prefix {cache} "
        f"{package.name}@{package.version}, or name a node_modules folder with ${MODULES}"
    )


def import_map(engine: str) -> dict[str, str]:
    """What the page's imports mean, for its import map; node_modules is served as /modules/."""
    if engine not in PACKAGES:
        return {}
    package = PACKAGES[engine]
    paths = {package.name: f"{package.name}/{package.script}", **dict(package.imports)}
    return {name: f"/modules/{path}" for name, path in paths.items()}


def version_of(engine: str, modules: Path) -> str:
    """The installed package's version."""
    try:
        return str(json.loads((modules / PACKAGES[engine].name / "package.json").read_text("utf-8"))["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return "?"


def wasm_core() -> Path:
    """The core as WebAssembly with SIMD, built once.

    Raises:
        InputError: no compiler.
    """
    core = core_folder()
    sources = [HERE / "wasm.c", *sorted((core / "src").glob("*.c"))]
    if importlib.util.find_spec("ziglang"):
        command = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", "-mcpu=generic+simd128"]
    elif shutil.which("clang") and shutil.which("wasm-ld"):
        command = ["clang", "--target=wasm32", "-msimd128"]
    else:
        raise InputError('--device browser needs a C compiler once: pip install "t2m-edge[board]", or clang and lld')
    flags = [
        "-std=c11",
        "-O2",
        "-nostdlib",
        "-ffreestanding",
        "-DT2M_OWN_MEMORY",
        "-ffp-contract=off",
        "-Wl,--no-entry",
    ]
    digest = sha256(" ".join([*command, *flags]).encode())
    for path in [*sources, *sorted((core / "src").glob("*.h")), core / "include" / "t2m.h"]:
        digest.update(path.read_bytes())
    target = cache_folder() / f"core-{digest.hexdigest()[:16]}.wasm"
    if not target.is_file():
        compile_aside([*command, *flags, f"-I{core / 'include'}", *map(str, sources)], target)
    return target
