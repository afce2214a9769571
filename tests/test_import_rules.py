"""Who may import whom, and that torch stays off the path of the commands that need no training.

t2m_runtime <- t2m_exporters <- t2m_edge; t2m_bench imports only t2m_runtime; torch only in the training rooms.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "t2m_runtime": ROOT / "runtimes" / "python" / "t2m_runtime",
    "t2m_exporters": ROOT / "exporters" / "t2m_exporters",
    "t2m_edge": ROOT / "t2m_edge",
    "t2m_bench": ROOT / "benchmarks" / "t2m_bench",
}
MAY_IMPORT = {
    "t2m_runtime": set(),
    "t2m_exporters": {"t2m_runtime"},
    "t2m_edge": {"t2m_runtime", "t2m_exporters"},
    "t2m_bench": {"t2m_runtime"},
}
TORCH = {"torch", "torchvision", "safetensors.torch", "open_clip", "sentence_transformers", "litert_torch"}
TORCH_ROOMS = ("backbones", "hypernetworks", "training", "evaluation", "text")


def imports(path: Path) -> list[tuple[int, str, bool]]:
    """(line, full name, at module level) of everything that a file imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""] + [f"{node.module}.{alias.name}" for alias in node.names]
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
        else:
            continue
        found += [(node.lineno, name, id(node) not in inner) for name in names]
    return found


@pytest.mark.parametrize("package", FOLDERS)
def test_packages_import_downward_only(package):
    files = sorted(FOLDERS[package].rglob("*.py"))
    assert files
    wrong = []
    for path in files:
        for line, name, top in imports(path):
            other = name.split(".")[0]
            if other not in FOLDERS or other == package or other in MAY_IMPORT[package]:
                continue
            lazy_bench = package == "t2m_edge" and path.parts[-3:-1] == ("cli", "commands") and not top
            if not (other == "t2m_bench" and lazy_bench):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def is_torch(name: str) -> bool:
    return name.split(".")[0] in TORCH or name in TORCH


@pytest.mark.parametrize("package", FOLDERS)
def test_torch_stays_in_its_rooms(package):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in FOLDERS[package].rglob("*.py")
        for line, name, _ in imports(path)
        if is_torch(name) and not (package == "t2m_edge" and path.relative_to(FOLDERS[package]).parts[0] in TORCH_ROOMS)
    ]
    assert wrong == []


WITHOUT_TORCH = """
import sys
from importlib.machinery import ModuleSpec
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "open_clip", "sentence_transformers", "litert_torch"}:
            return ModuleSpec(name, self)
    def create_module(self, spec):
        raise ImportError(f"{spec.name} was imported")
    def exec_module(self, module):
        pass
sys.meta_path.insert(0, Refuse())
"""


def run_without_torch(code: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH + code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_what_refuses_torch_really_does(tmp_path):
    assert run_without_torch("import torch", tmp_path).returncode != 0


def test_the_main_path_imports_without_torch(tmp_path):
    names = ["t2m_edge.compiler", "t2m_edge.packs", "t2m_edge.task", "t2m_edge.text", "t2m_runtime.classifier"]
    names += [f"t2m_exporters.{path.stem}" for path in FOLDERS["t2m_exporters"].glob("*.py")]
    names += [f"t2m_edge.cli.commands.{path.stem}" for path in (ROOT / "t2m_edge/cli/commands").glob("*.py")]
    code = "".join(f"import {name}\n" for name in names if not name.endswith("__init__"))
    done = run_without_torch(code + "assert not [m for m in sys.modules if m.split('.')[0] == 'torch']", tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_main_job_runs_without_torch(tmp_path):
    task, photo = ROOT / "examples" / "grocery.txt", ROOT / "examples" / "photos" / "carrots.jpg"
    code = f"""
from t2m_edge.cli.main import run
for arguments in (
    ["compile", {str(task)!r}, "-o", "model.tflite"], ["run", "model.tflite", {str(photo)!r}],
    ["inspect", "model.tflite"], ["verify", "model.tflite"], ["targets"], ["doctor"],
    ["pack", "list"], ["pack", "info"],
):
    code = run(arguments)
    assert code == 0, (arguments, code)
assert not [m for m in sys.modules if m.split(".")[0] == "torch"]
"""
    done = run_without_torch(code, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]
