"""The browser device: real headless Chromium runs the core as WebAssembly."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import t2m_edge
from t2m_bench.devices.browser import BROWSERS
from t2m_bench.devices.web_engines import MODULES, PACKAGES, wasm_core
from t2m_edge.cli.main import run
from t2m_runtime.errors import InputError

TASK = Path(__file__).resolve().parents[2] / "examples" / "grocery.txt"


@pytest.mark.slow
def test_a_model_is_measured_on_a_page(cache, model: Path, capsys) -> None:
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no Chromium here")
    try:
        wasm_core()
    except InputError as error:
        pytest.skip(str(error))
    code = run(["bench", str(model), "--device", "browser", "--seconds", "1", "--json"])
    (found,) = json.loads(capsys.readouterr().out)["results"]
    assert code == 0 and "wasm-simd" in found["engine"] and "Chromium" in found["engine"]
    assert found["runs"]["count"] >= 10 and 0 < found["runs"]["p50"] < found["frame"]["p50"]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm packages of the other engines."""
    if not shutil.which("npm") or not any(map(shutil.which, BROWSERS)):
        pytest.skip("no npm or no Chromium here")
    folder = tmp_path_factory.mktemp("web")
    wanted = [f"{package.name}@{package.version}" for package in PACKAGES.values()]
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder), *wanted]
    if subprocess.run(command, capture_output=True, timeout=600).returncode:
        pytest.skip("npm cannot fetch the engines")
    return folder / "node_modules"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "kind", "threads"), [("litert", "tflite", 1), ("litert", "tflite", 2), ("onnxruntime", "onnx", 2)]
)
def test_the_web_s_engines_run_there_too(modules, engine, kind, threads, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv(MODULES, str(modules))
    model = tmp_path / f"model.{kind}"
    t2m_edge.compile(TASK, model, target=kind)
    arguments = ["--device", "browser", "--engine", engine, "--threads", str(threads), "--seconds", "1", "--json"]
    code = run(["bench", str(model), *arguments])
    out = capsys.readouterr()
    assert code == 0, out.err
    (found,) = json.loads(out.out)["results"]
    name, version = PACKAGES[engine].name.replace("@litertjs/core", "litertjs"), PACKAGES[engine].version
    assert found["engine"].startswith(f"{name} {version}, Chromium") and found["threads"] == threads
    assert found["runs"]["count"] >= 10 and found["frame"] is None and found["memory"] is None


@pytest.mark.slow
def test_what_an_engine_refuses_is_one_line(modules, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv(MODULES, str(modules))
    model = tmp_path / "int8.tflite"
    t2m_edge.compile(TASK, model, output_type="int8")
    code = run(["bench", str(model), "--device", "browser", "--engine", "litert"])
    err = capsys.readouterr().err.splitlines()
    assert code == 2 and "int8.tflite in the browser" in err[-1]


@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium here")
def test_an_engine_that_is_not_there_comes_with_the_line_that_installs_it(
    model: Path, tmp_path: Path, capsys, cache, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for engine, package in (("litert", "@litertjs/core@"), ("onnxruntime", "onnxruntime-web@")):
        path = model
        if engine == "onnxruntime":
            path = tmp_path / "model.onnx"
            t2m_edge.compile(TASK, path, target="onnx")
        assert run(["bench", str(path), "--device", "browser", "--engine", engine]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"npm install --ignore-scripts --prefix {cache}" in line and package in line
    monkeypatch.setenv(MODULES, str(tmp_path))
    assert run(["bench", str(model), "--device", "browser", "--engine", "litert"]) == 2
    assert f"{tmp_path} has no @litertjs/core" in capsys.readouterr().err


def test_without_chromium_it_says_how_to_get_it(model: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("T2M_BROWSER", "no-such-browser")
    assert run(["bench", str(model), "--device", "browser"]) == 2
    assert "no-such-browser" in capsys.readouterr().err
    monkeypatch.delenv("T2M_BROWSER")
    monkeypatch.setenv("PATH", "")
    assert run(["bench", str(model), "--device", "browser"]) == 2
    assert "apt-get install chromium" in capsys.readouterr().err
