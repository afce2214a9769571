"""The sections about what was measured: each gives its HTML, or nothing where no result has what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from t2m_bench.report import plots
from t2m_bench.report.plots import Line, Row
from t2m_bench.report.scales import number

Result = dict[str, Any]
COLOURS = 8
DISTRIBUTIONS = 24
"""Most results in one plot; tables have all."""


def kind_of(result: Result) -> tuple[str, str, str]:
    """What has a colour of its own: a file, engine and device; its thread counts share it."""
    return result["sha256"], result["engine"], result["device"]


def section(name: str, text: str, content: str, anchor: str = "") -> str:
    mark = f' id="{anchor}"' if anchor else ""
    return f'<section{mark}><h2>{escape(name)}</h2><p class="how">{text}</p>{content}</section>'


def measured(results: Sequence[Result], rows: list[Row], unit: str) -> list[str]:
    """The sections of results that share a unit."""
    found = [_cards(results, rows, unit)] if len(results) <= 4 else []
    whole = [(r, row) for r, row in zip(results, rows, strict=True) if r["quantiles"]][:DISTRIBUTIONS]
    if unit == "ms" and whole:
        found.append(
            section(
                "One inference",
                "Every single run of the steady state: the higher, the more often. Marks at 50, 90 and 99 %.",
                plots.distributions([row for _, row in whole], [r["quantiles"] for r, _ in whole], unit),
            )
        )
    elif unit != "ms" and len(results) > 1:
        found.append(
            section(
                "One inference", "Instructions, counted.", plots.bars(rows, [r["runs"]["p50"] for r in results], unit)
            )
        )
    found += [
        _baseline(results, rows),
        _accuracy(results, rows, unit),
        _threads(results, rows, unit),
        _classes(results, unit),
    ]
    found.append(_table(results, rows, unit))
    if unit == "ms":
        found.append(
            section(
                "While it was measured",
                "Medians of blocks of a tenth of a second, and how far the last quarter is from the first. A line that "
                "climbs is heat, or another program.",
                plots.courses(rows[:DISTRIBUTIONS], [r["blocks"] for r in results[:DISTRIBUTIONS]], unit),
            )
        )
    return [*found, _memory(results, rows), _energy(results, rows), _profiles(results, rows, unit)]


def _cards(results: Sequence[Result], rows: list[Row], unit: str) -> str:
    """The numbers that most readers came for."""
    out = []
    for result, row in zip(results, rows, strict=True):
        runs = result["runs"]
        facts = [("p90", number(runs["p90"], unit, True))] if unit == "ms" else []
        facts += [("first", number(result["first"], unit, True)), ("load", number(result["load"], unit, True))]
        if result["frame"]:
            facts.append(("frame to name", number(result["frame"]["p50"], unit, True)))
        if result["accuracy"]:
            facts.append(("accuracy", f"{result['accuracy']['accuracy']:.1%}"))
        if result["swap"]:
            facts.append(("head swap", number(result["swap"]["p50"], unit, True)))
        if _only_arena(result):
            facts.append(("arena", _size(result["memory"]["arena"])))
        facts.append(("file", _size(result["size_bytes"])))
        items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)
        words = "million instructions" if unit == "instructions" else f"{unit} an inference"
        out.append(
            f'<article class="card"><h3><b class="dot c{row.colour}"></b>{escape(row.name)}</h3>'
            f'<p>{escape(row.detail)}</p><p class="big">{number(runs["p50"], unit)}'
            f"<small> {words}</small></p><dl>{items}</dl></article>"
        )
    return f'<div class="cards">{"".join(out)}</div>'


def _baseline(results: Sequence[Result], rows: list[Row]) -> str:
    both = [(r["baseline"], row) for r, row in zip(results, rows, strict=True) if r["baseline"]]
    if not both:
        return ""
    verdict = []
    for b, row in both:
        said = "slower" if b["low"] > 1 else "faster" if b["high"] < 1 else "not surely different"
        by = f" by {abs(b['ratio'] - 1):.1%}" if said != "not surely different" else ""
        verdict.append(f"<b>{escape(row.name)}</b> is {said}{by}")
    text = (
        f"Against {escape(both[0][0]['model'])}, which took turns with each model: {'; '.join(verdict)}. "
        "The bar is where the ratio surely lies (98 %, bootstrap over the blocks)."
    )
    return section("Against the baseline", text, plots.ratios([row for _, row in both], [b for b, _ in both]))


def _accuracy(results: Sequence[Result], rows: list[Row], unit: str) -> str:
    lines = [
        Line(f"{row.name}, {row.detail}", row.colour, ((r["runs"]["p50"], r["accuracy"]["accuracy"] * 100),))
        for r, row in zip(results, rows, strict=True)
        if r["accuracy"]
    ]
    if not lines:
        return ""
    first = next(r["accuracy"] for r in results if r["accuracy"])
    text = f"On {first['images']:,} photos of {escape(first['folder'])}, by the same engine, settings and file."
    words = "median of one inference, " + ("million instructions" if unit == "instructions" else unit)
    return section("Latency against accuracy", text, plots.plane(lines, unit, "", words, "accuracy, %", least=6.0))


def _threads(results: Sequence[Result], rows: list[Row], unit: str) -> str:
    kinds: dict[tuple, tuple[Row, dict[float, float]]] = {}
    for r, row in zip(results, rows, strict=True):
        kinds.setdefault(kind_of(r), (row, {}))[1][r["threads"]] = r["runs"]["p50"]
    lines = [
        Line(f"{row.name}, {kind[1]}", row.colour, tuple(sorted(points.items())))
        for kind, (row, points) in kinds.items()
        if len(points) > 1
    ]
    if not lines:
        return ""
    content = plots.plane(lines, "", unit, "threads", f"median of one inference, {unit}", ticks=True)
    return section("Threads", "More threads help only where a layer is large enough to share.", content)


def _classes(results: Sequence[Result], unit: str) -> str:
    chosen = [r for r in results if r["compile"] and r["classes"]]
    if len({r["classes"] for r in chosen}) < 2:
        return ""
    chosen.sort(key=lambda r: r["classes"])
    line = Line("compile", 0, tuple((r["classes"], r["compile"]["median_s"]) for r in chosen))
    size = Line("file", 1, tuple((r["classes"], r["size_bytes"] / 1e6) for r in chosen))
    speed = Line("one inference", 2, tuple((r["classes"], r["runs"]["p50"]) for r in chosen))
    planes = (
        plots.plane([line], "", "", "classes", "seconds to compile, new process", ticks=True)
        + plots.plane([size], "", "", "classes", "MB", ticks=True)
        + plots.plane([speed], "", unit, "classes", f"median of one inference, {unit}", ticks=True)
    )
    return section("Classes", "What more classes cost.", f'<div class="planes">{planes}</div>')


TABLE: tuple[tuple[str, Any], ...] = (
    ("load", lambda r, n: n(r["load"])),
    ("first", lambda r, n: n(r["first"])),
    ("p50", lambda r, n: n(r["runs"]["p50"])),
    ("p90", lambda r, n: n(r["runs"]["p90"])),
    ("p95", lambda r, n: n(r["runs"]["p95"])),
    ("p99", lambda r, n: n(r["runs"]["p99"])),
    ("mean", lambda r, n: n(r["runs"]["mean"])),
    ("deviation", lambda r, n: n(r["runs"]["deviation"])),
    ("least", lambda r, n: n(r["runs"]["minimum"])),
    ("runs", lambda r, n: f"{r['runs']['count']:,}"),
    ("prepare", lambda r, n: n(r["prepare"] and r["prepare"]["p50"])),
    ("frame", lambda r, n: n(r["frame"] and r["frame"]["p50"])),
    ("swap", lambda r, n: n(r["swap"] and r["swap"]["p50"])),
    ("compile, s", lambda r, n: f"{r['compile']['median_s']:.3f}" if r["compile"] else "–"),
    ("accuracy", lambda r, n: f"{r['accuracy']['accuracy']:.1%}" if r["accuracy"] else "–"),
    ("file", lambda r, n: _size(r["size_bytes"])),
)
COUNTED_OUT = ("p90", "p95", "p99", "mean", "deviation", "least", "runs")
"""Columns that say nothing of counts, which are all the same."""


def _table(results: Sequence[Result], rows: list[Row], unit: str) -> str:
    columns = []
    for name, cell in TABLE:
        if unit == "instructions" and name in COUNTED_OUT:
            continue
        cells = [cell(r, lambda v: number(v, unit)) for r in results]
        if any(c != "–" for c in cells):
            columns.append((name, cells))
    head = "".join(f"<th>{escape(name)}</th>" for name, _ in columns)
    lines = "".join(
        f'<tr><th scope="row"><b class="dot c{row.colour}"></b>{plots.breakable(row.name)}'
        f"<small>{escape(row.detail)}</small></th>"
        + "".join(f"<td>{escape(cells[i])}</td>" for _, cells in columns)
        + "</tr>"
        for i, row in enumerate(rows)
    )
    words = "Millions of instructions" if unit == "instructions" else "Milliseconds"
    text = (
        f"{words}. Load: file to ready model. First: the first inference after it. Prepare: a 640 × 480 camera frame "
        "to the model's input. Frame: the same to class names. Swap: a head file put into the loaded backbone."
    )
    return section(
        "All numbers", text, f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead>{lines}</table></div>'
    )


def _memory(results: Sequence[Result], rows: list[Row]) -> str:
    chosen = [(r, row) for r, row in zip(results, rows, strict=True) if r["memory"] and "peak" in r["memory"]]
    own = {r["sha256"]: (Row(row.name, "", row.colour), r["size_bytes"] / 1e6) for r, row in zip(results, rows)}
    files = plots.bars([row for row, _ in own.values()], [size for _, size in own.values()], "MB")
    content = f"<h3>File, MB</h3>{files}"
    alone = [(r["memory"]["arena"] / 1e3, row) for r, row in zip(results, rows, strict=True) if _only_arena(r)]
    if alone:
        arenas = plots.bars([row for _, row in alone], [size for size, _ in alone], "kB")
        content = f"<h3>Memory of the model (its arena), kB</h3>{arenas}{content}"
    if chosen:
        notes = []
        for r, _ in chosen:
            memory = r["memory"]
            arena = f"arena {_size(memory['arena'])}" if "arena" in memory else ""
            notes.append(arena or (f"{memory['before']:.0f} before load" if "before" in memory else ""))
        peaks = plots.bars([row for _, row in chosen], [r["memory"]["peak"] for r, _ in chosen], "MB", notes)
        content = f"<h3>Peak of the process, MB</h3>{peaks}{content}"
    words = "Resident memory of the whole process, its language included." if chosen else ""
    return section("Memory and size", words, content)


def _only_arena(result: Result) -> bool:
    """Whether there is no process, as where instructions are counted, but the core says what it takes."""
    memory = result["memory"] or {}
    return "arena" in memory and "peak" not in memory


def _energy(results: Sequence[Result], rows: list[Row]) -> str:
    chosen = [(r["energy"], row) for r, row in zip(results, rows, strict=True) if r["energy"]]
    if not chosen:
        return ""
    notes = [f"{e['extra_mj_per_inference']:.3g} beyond idle ({e['idle_watts']:.1f} W)" for e, _ in chosen]
    values = [e["mj_per_inference"] for e, _ in chosen]
    text = f"Millijoules an inference, by {escape(chosen[0][0]['meter'])}, of everything that the meter sees."
    return section("Energy", text, plots.bars([row for _, row in chosen], values, "mJ", notes))


def _profiles(results: Sequence[Result], rows: list[Row], unit: str) -> str:
    chosen = [(r, row) for r, row in zip(results, rows, strict=True) if r["profile"]]
    if not chosen:
        return ""
    content = "".join(
        f"<details{' open' if i == 0 else ''}><summary><b class='dot c{row.colour}'></b>{escape(row.name)} "
        f"<small>{escape(row.detail)} · {escape(r['profiler'])}</small></summary>"
        f"{plots.profile(r['profile'], unit, row.colour)}</details>"
        for i, (r, row) in enumerate(chosen)
    )
    text = (
        "Share of each operator, by the profiler that stands beside the engine. LiteRT's counts whole microseconds, of "
        "XNNPACK's own operators, which may be several of the model's in one. Where the model was cut behind each "
        "operator, small ones drown in the noise."
    )
    return section("Operators", text, content)


def _size(size: float) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
