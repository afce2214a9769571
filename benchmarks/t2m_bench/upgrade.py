"""Results that an earlier t2m-edge kept, in today's schema: what it did not measure is empty or None."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2m_bench.profiles import CUT
from t2m_bench.results import SCHEMA, Result
from t2m_runtime.errors import InputError

LATER: dict[str, Any] = {
    "unit": "ms", "precision": None, "classes": None, "swap": None, "quantiles": (), "memory": None, "profile": (),
    "profiler": None, "energy": None, "accuracy": None, "baseline": None, "suite": None, "compile": None,
}  # fmt: skip
"""Fields that came after schema 1, with what they are where nothing was measured."""


def upgraded(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result of any schema so far.

    Raises:
        InputError: it is of a later schema, or no result.
    """
    version = result.get("schema_version")
    if not isinstance(version, int) or not 1 <= version <= SCHEMA:
        raise InputError(f"a result has schema {version!r}, this t2m-edge knows 1 to {SCHEMA}; update t2m-edge")
    try:
        found = {**LATER, **(_from_first(result) if version == 1 else result)}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"a result of schema {version} makes no sense ({error!r}); t2m-edge wrote it otherwise"
        ) from None
    if version == 2 and found.get("profile"):
        found["profiler"] = "ONNX Runtime's profiler" if found.get("kind") == "onnx" else CUT
    if missing := [name for name in Result.__dataclass_fields__ if name not in found]:
        raise InputError(f"a result lacks {', '.join(missing[:4])}; it was not written by t2m-edge")
    return {"schema_version": SCHEMA, **{name: found[name] for name in Result.__dataclass_fields__}}


def _from_first(result: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1: load and first in seconds, blocks called raw and in seconds, the peak apart."""
    name = Path(result["model"]).name
    return {
        **result,
        "name": name,
        "kind": Path(name).suffix.lstrip("."),
        "load": result["load_s"] * 1e3,
        "first": result["first_s"] * 1e3,
        "blocks": [t * 1e3 for t in result["raw"]],
        "memory": {"peak": result["peak_mb"]},
    }
