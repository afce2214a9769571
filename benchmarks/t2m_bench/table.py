"""Results as comma-separated values: a line each, numbers as they were measured, empty where nothing was."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

PLAIN = ("name", "engine", "threads", "device", "unit", "precision", "classes", "size_bytes", "load", "first")
RUNS = ("p50", "p90", "p95", "p99", "mean", "deviation", "minimum", "count")
PARTS = {
    "prepare": ("prepare", "p50"), "frame": ("frame", "p50"), "swap": ("swap", "p50"),
    "memory_before_mb": ("memory", "before"), "memory_peak_mb": ("memory", "peak"), "arena_bytes": ("memory", "arena"),
    "accuracy": ("accuracy", "accuracy"), "baseline": ("baseline", "model"), "baseline_ratio": ("baseline", "ratio"),
    "baseline_low": ("baseline", "low"), "baseline_high": ("baseline", "high"),
    "mj_per_inference": ("energy", "mj_per_inference"), "compile_s": ("compile", "median_s"),
    "compile_peak_mb": ("compile", "peak_mb"),
}  # fmt: skip
"""Column -> which part of a result it shows, and what of it."""
LAST = ("when", "commit", "sha256", "suite")


def as_csv(results: Sequence[dict[str, Any]]) -> str:
    """A header and a line for each result (Result.as_dict); load, first, runs, prepare, frame and swap in its unit."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*PLAIN, *RUNS, *PARTS, "suspect", *LAST])
    for r in results:
        parts = [(r[part] or {}).get(key) for part, key in PARTS.values()]
        writer.writerow(
            [*map(r.get, PLAIN), *map(r["runs"].get, RUNS), *parts, "; ".join(r["suspect"]), *map(r.get, LAST)]
        )
    return table.getvalue()
