"""The main job: a task in, an artifact out."""

from t2m_edge.compiler.compiling import compile
from t2m_edge.compiler.report import CompileReport

__all__ = ["CompileReport", "compile"]
