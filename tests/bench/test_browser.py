"""The browser device: real headless Chromium runs the core as WebAssembly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from t2m_bench.devices.browser import BROWSERS, wasm_core
from t2m_edge.cli.main import run
from t2m_runtime.errors import InputError


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


def test_without_chromium_it_says_how_to_get_it(model: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("T2M_BROWSER", "no-such-browser")
    assert run(["bench", str(model), "--device", "browser"]) == 2
    assert "chromium" in capsys.readouterr().err
