"""t2m-edge: class descriptions in, a quantised image classifier out.

import t2m_edge

report = t2m_edge.compile("descriptions.txt", "model.tflite")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t2m_edge.compiler import CompileReport, compile
    from t2m_edge.compiler.injecting import InjectReport, inject
    from t2m_edge.packs import load_pack
    from t2m_edge.task import read_task

__version__ = "0.1.0"

__all__ = ["CompileReport", "InjectReport", "compile", "inject", "load_pack", "read_task"]

_HOMES = {
    "compile": "compiler",
    "CompileReport": "compiler",
    "inject": "compiler.injecting",
    "InjectReport": "compiler.injecting",
    "load_pack": "packs",
    "read_task": "task",
}


def __getattr__(name: str) -> object:
    # Imported on first use, so that `t2m-edge --help` does not pay for the compiler.
    if name not in _HOMES:
        raise AttributeError(f"module 't2m_edge' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"t2m_edge.{_HOMES[name]}"), name)
