"""What writing an artifact costs in imports."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["tflite", "onnx", "quantize", "parity"])
def test_a_compile_imports_no_converter_and_no_engine(module):
    code = f"""
import sys
import t2m_exporters.{module}
heavy = {{"onnx", "onnxruntime", "ai_edge_litert", "torch", "tensorflow", "t2m_edge", "scipy"}}
print(sorted(heavy & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
