"""The C core as an engine of the runtime; without a compiled core everything else still works."""

from __future__ import annotations

import pytest

from t2m_runtime.core import core_library
from t2m_runtime.engines import available_engines, load_engine
from t2m_runtime.errors import InputError


@pytest.fixture
def no_core(monkeypatch):
    monkeypatch.delenv("T2M_CORE_LIBRARY", raising=False)
    monkeypatch.setattr("t2m_runtime.core._NAMES", ())


def test_without_a_compiled_core_it_says_how_to_get_one(no_core, models):
    assert "T2M_CORE_LIBRARY" in available_engines()["core"].reason
    with pytest.raises(InputError, match="T2M_CORE_LIBRARY"):
        load_engine("tflite", models.colour_tflite(), engine="core")
    assert load_engine("tflite", models.colour_tflite()).name in ("litert", "tflite_runtime")


def test_a_library_that_is_not_the_core_is_refused(monkeypatch, tmp_path):
    (tmp_path / "other.so").write_bytes(b"not a library")
    monkeypatch.setenv("T2M_CORE_LIBRARY", str(tmp_path / "other.so"))
    with pytest.raises(InputError, match="cannot load"):
        core_library()


def test_the_core_runs_no_onnx(models):
    with pytest.raises(InputError, match="does not run"):
        load_engine("onnx", models.colour_onnx(None), engine="core")
