"""What t2m-edge bench shows in a terminal: tables of results, and how far it is."""

from __future__ import annotations

import re
import shutil
import sys
import threading
import time
from typing import Any

from t2m_edge.cli.output import say, say_table

COLUMNS = ("model", "engine", "threads", "load", "first", "p50", "p90", "p99", "frame", "peak MB", "size kB")
LEAST_NAME = 24
"""Characters of a model's name that a narrow terminal shows."""


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
    ("arena kB", lambda r: f"{r['memory']['arena'] / 1000:.1f}" if "arena" in (r["memory"] or {}) else None),
    ("compile s", lambda r: (c := r["compile"]) and f"{c['median_s']:.3f}"),
    ("suspect", lambda r: "yes" if r["suspect"] else None),
)
"""Columns that are there only when some result has them."""


def print_results(results: list[dict[str, Any]], markdown: bool) -> None:
    rows, header = [_cells(r) for r in results], list(COLUMNS)
    for name, cell in EXTRAS:
        cells = [cell(r) for r in results]
        if any(cells):
            header.append(name)
            for row, text in zip(rows, cells, strict=True):
                row.append(text or "-")
    if markdown:
        for line in (header, ["---"] * len(header), *rows):
            say(f"| {' | '.join(line)} |")
    else:
        say_table(header, _narrowed(header, rows), right=range(2, len(header)))
        counted = [r for r in results if r["unit"] == "instructions"]
        say("Instructions, not times." if counted else "Milliseconds; frame: a 640 x 480 camera frame to class names.")
    profiled = [r for r in results if r["profile"]]
    if profiled and not markdown:
        for r in profiled:
            _print_profile(r)


def _narrowed(header: list[str], rows: list[list[str]]) -> list[list[str]]:
    """The rows with names short enough for the terminal; as they are where the output goes elsewhere."""
    if not sys.stdout.isatty():
        return rows
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    room = max(LEAST_NAME, widths[0] - max(0, sum(widths) + 2 * len(widths) - 2 - shutil.get_terminal_size().columns))
    return [[_shortened(name, room), *others] for name, *others in rows]


def _shortened(name: str, room: int) -> str:
    """Without its middle: names often begin alike, and end in what sets them apart."""
    half = (room - 1) // 2
    return name if len(name) <= room else f"{name[: room - 1 - half]}…{name[-half:]}"


def _print_profile(result: dict[str, Any]) -> None:
    total = sum(t for _, _, t in result["profile"]) or 1.0
    most = sorted(result["profile"], key=lambda o: -o[2])[:8]
    say()
    rows = [[name, kind, shown(t, result["unit"]), f"{t / total:.0%}"] for name, kind, t in most]
    header = [_name(result), f"operator, by {result['profiler']}", result["unit"], "share"]
    say_table(header, rows, right=(2, 3))


def _name(result: dict[str, Any]) -> str:
    return f"{result['name']}, {result['engine']}, {result['threads']} thread{'s' if result['threads'] > 1 else ''}"


def doubts(results: list[dict[str, Any]]) -> list[str]:
    """Why figures are suspect: a line for each kind of reason, with the first run that has it and how many more do."""
    kinds: dict[str, list[str]] = {}
    for r in results:
        for text in r["suspect"]:
            kinds.setdefault(re.sub(r"[\d.]+", "", text), []).append(f"{_name(r)}: {text}")
    return [first + (f" (and {len(others)} more like it)" if others else "") for first, *others in kinds.values()]


def kept_as(numbers: list[int], hint: bool) -> str:
    """Under which ids results are in the database."""
    name = f"result {numbers[0]}" if len(numbers) == 1 else f"results {numbers[0]} to {numbers[-1]}"
    return f"Kept as {name}{'; t2m-edge bench report FILE.html makes a page' if hint else ''}."


class Steps:
    """The runs' progress on stderr: a bar that moves while a run lasts in a terminal, else one line a run."""

    WIDTH, REDRAWN = 24, 0.5

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._step: Any = None
        self._since = self._total = 0.0
        self._ended = threading.Event()
        self._drawing = threading.Thread(target=self._redraw, daemon=True)

    def show(self, step: Any) -> None:
        """A step begins."""
        if not self._stream.isatty():
            print(self._text(step, step.seconds_left), file=self._stream, flush=True)
            return
        first, self._step, self._since = self._step is None, step, time.monotonic()
        self._total = max(self._total, step.seconds_left)
        self._draw()
        if first:
            self._drawing.start()

    def close(self) -> None:
        """Takes the bar away."""
        self._ended.set()
        if self._step is not None:
            self._drawing.join()
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def _redraw(self) -> None:
        while not self._ended.wait(self.REDRAWN):
            self._draw()

    def _draw(self) -> None:
        left = max(1.0, self._step.seconds_left - (time.monotonic() - self._since))
        full = min(self.WIDTH - 1, int(self.WIDTH * (1 - left / max(self._total, left))))
        bar = "━" * full + "╺" + "─" * (self.WIDTH - full - 1)
        line = f"{bar} {self._text(self._step, left)}"[: shutil.get_terminal_size().columns - 1]
        print(f"\r\x1b[K{line}", end="", file=self._stream, flush=True)

    @staticmethod
    def _text(step: Any, left: float) -> str:
        return f"{step.number + 1} of {step.count}: {step.what}, about {left:.0f} s left"
