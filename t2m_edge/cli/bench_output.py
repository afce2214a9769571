"""What t2m-edge bench shows in a terminal: tables of results, and how far it is."""

from __future__ import annotations

import csv as csv_format
import sys
from typing import Any

from t2m_edge.cli.output import say, say_table

COLUMNS = ("model", "engine", "threads", "load", "first", "p50", "p90", "p99", "frame", "peak MB", "size kB")
NUMBERS = range(2, 99)


def shown(value: float | None, unit: str) -> str:
    """Milliseconds, or millions of instructions."""
    if value is None:
        return "-"
    return f"{value / 1e6:.2f} M" if unit == "instructions" else f"{value:.3f}"


def _cells(result: dict[str, Any]) -> list[str]:
    runs, unit = result["runs"], result["unit"]
    frame, memory = result["frame"], result["memory"] or {}
    figures = [result["load"], result["first"], runs["p50"], runs["p90"], runs["p99"], frame and frame["p50"]]
    return [
        result["name"], result["engine"], str(result["threads"]), *(shown(v, unit) for v in figures),
        f"{memory['peak']:.1f}" if "peak" in memory else "-", f"{result['size_bytes'] / 1000:.0f}",
    ]  # fmt: skip


EXTRAS: tuple[tuple[str, Any], ...] = (
    ("to baseline", lambda r: (b := r["baseline"]) and f"{b['ratio']:.3f} ({b['low']:.3f} to {b['high']:.3f})"),
    ("accuracy", lambda r: (a := r["accuracy"]) and f"{a['accuracy']:.1%}"),
    ("swap", lambda r: (s := r["swap"]) and shown(s["p50"], r["unit"])),
    ("mJ", lambda r: (e := r["energy"]) and f"{e['mj_per_inference']:.3f}"),
    ("compile s", lambda r: (c := r["compile"]) and f"{c['median_s']:.3f}"),
)
"""Columns that are there only when some result has them."""


def print_results(results: list[dict[str, Any]], markdown: bool, csv: bool) -> None:
    rows, header = [_cells(r) for r in results], list(COLUMNS)
    for name, cell in EXTRAS:
        cells = [cell(r) for r in results]
        if any(cells):
            header.append(name)
            for row, text in zip(rows, cells, strict=True):
                row.append(text or "-")
    if csv:
        csv_format.writer(sys.stdout).writerows([header, *rows])
    elif markdown:
        for line in (header, ["---"] * len(header), *rows):
            say(f"| {' | '.join(line)} |")
    else:
        say_table(header, rows, right=range(2, len(header)))
        counted = [r for r in results if r["unit"] == "instructions"]
        say("Instructions, not times." if counted else "Milliseconds; frame: a 640 x 480 camera frame to class names.")
    profiled = [r for r in results if r["profile"]]
    if profiled and not (markdown or csv):
        for r in profiled:
            _print_profile(r)


def _print_profile(result: dict[str, Any]) -> None:
    total = sum(t for _, _, t in result["profile"]) or 1.0
    most = sorted(result["profile"], key=lambda o: -o[2])[:8]
    say()
    rows = [[name, kind, shown(t, result["unit"]), f"{t / total:.0%}"] for name, kind, t in most]
    header = [f"{result['name']}, {result['engine']}", f"operator, by {result['profiler']}", result["unit"], "share"]
    say_table(header, rows, right=(2, 3))


class Steps:
    """The runs' progress on stderr: a bar that stays on its line in a terminal, else one line a run."""

    WIDTH = 24

    def __init__(self) -> None:
        self._stream, self._open = sys.stderr, False

    def show(self, step: Any) -> None:
        text = f"{step.number + 1} of {step.count}: {step.what}, about {step.seconds_left:.0f} s left"
        if not self._stream.isatty():
            print(text, file=self._stream, flush=True)
            return
        full = self.WIDTH * step.number // step.count
        bar = "━" * full + "╺" + "─" * (self.WIDTH - full - 1)
        print(f"\r\x1b[K{bar} {text}", end="", file=self._stream, flush=True)
        self._open = True

    def close(self) -> None:
        if self._open:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._open = False
