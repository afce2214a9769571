"""The plots of a report, as HTML and SVG that stretch to any width: shapes in SVG, all text in HTML at its own size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from t2m_bench.report.scales import Scale, number, scale_of, tick

GRID = 220


@dataclass(frozen=True)
class Row:
    """One line of a plot: what it is called (name, and a second line), its colour's number."""

    name: str
    detail: str
    colour: int


def axis(scale: Scale, unit: str, most: int = 6) -> str:
    """Ticks along the bottom of a plot whose rows stand above it."""
    ticks = "".join(
        f'<span class="tick" style="left:{scale.at(t):.2f}%">{tick(t, unit)}</span>' for t in scale.ticks(most)
    )
    words = {"instructions": "million instructions", "ms": "ms", "": ""}.get(unit, unit)
    kind = ", logarithmic" if scale.logarithmic else ""
    return f'<div class="axis"><div></div><div class="ticks">{ticks}</div><div class="unit">{words}{kind}</div></div>'


def grid(scale: Scale, most: int = 6) -> str:
    """Lines behind a row at the axis's ticks."""
    return "".join(f'<i class="line" {at(scale, t)}></i>' for t in scale.ticks(most))


def label(row: Row) -> str:
    """A row's name with its colour."""
    return (
        f'<div class="label"><b class="dot c{row.colour}"></b><span>{breakable(row.name)}'
        f"<small>{escape(row.detail)}</small></span></div>"
    )


def breakable(name: str) -> str:
    """A file's name as HTML that a narrow page breaks at its dots."""
    return escape(name).replace(".", ".<wbr>")


def line(name: str, plot: str, value: str, note: str = "", kind: str = "") -> str:
    """One row: what, its plot, its number and a small note under it."""
    small = f"<small>{note}</small>" if note else ""
    return (
        f'<div class="row">{name}<div class="plot {kind}">{plot}</div>'
        f'<div class="value"><b>{value}</b>{small}</div></div>'
    )


def bar(width: float, colour: int) -> str:
    """A bar, in per cent of the plot."""
    return f'<i class="bar c{colour}" style="width:{max(width, 0.3):.2f}%"></i>'


def svg(shapes: str) -> str:
    """Shapes in per cent of the plot, stretched to its size."""
    return f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{shapes}</svg>'


def at(scale: Scale, value: float) -> str:
    """The style of something at a value."""
    return f'style="left:{scale.at(value):.2f}%"'


def distributions(rows: Sequence[Row], quantiles: Sequence[Sequence[float]], unit: str) -> str:
    """Densities of single runs, each as high as its own peak, with marks at 50, 90 and 99 %."""
    top = max(q[99] for q in quantiles)
    scale = scale_of([max(min(q[0] for q in quantiles), top / 1e4), top])
    out = ['<div class="rows tall">']
    for row, q in zip(rows, quantiles, strict=True):
        marks = "".join(
            f'<i class="mark p{p} c{row.colour}" {at(scale, q[p])} title="p{p} {number(q[p], unit, True)}"></i>'
            for p in (50, 90, 99)
        )
        note = f"p90 {number(q[90], unit)}</small><small>p99 {number(q[99], unit)}"
        plot = grid(scale) + _density(q, scale, row.colour) + marks
        out.append(line(label(row), plot, number(q[50], unit), note))
    return "".join([*out, axis(scale, unit), "</div>"])


def _density(quantiles: Sequence[float], scale: Scale, colour: int) -> str:
    """A kernel density of the hundred values between the quantiles, on the axis."""
    q = np.asarray(quantiles, float)
    places = np.array([scale.at(v) for v in (q[1:] + q[:-1]) / 2])
    spread = min(places.std(), (np.percentile(places, 75) - np.percentile(places, 25)) / 1.34)
    width = max(0.9 * spread * len(places) ** -0.2, 0.45)  # Silverman's rule; half a per cent is all that can be seen
    across = np.linspace(0, 100, GRID)
    height = np.exp(-0.5 * ((across[:, None] - places[None]) / width) ** 2).sum(1)
    points = " ".join(f"{x:.2f},{100 - y:.1f}" for x, y in zip(across, height / height.max() * 92, strict=True))
    return svg(f'<polygon class="area c{colour}" points="0,100 {points} 100,100"/>')


def bars(rows: Sequence[Row], values: Sequence[float], unit: str, notes: Sequence[str] = ()) -> str:
    """Horizontal bars from zero, with their numbers; notes: small text under each number."""
    scale = Scale(0.0, max(values) * 1.04 or 1.0)
    out = ['<div class="rows">']
    for i, (row, value) in enumerate(zip(rows, values, strict=True)):
        note = escape(notes[i]) if notes else ""
        out.append(line(label(row), bar(scale.at(value), row.colour), number(value, unit), note))
    return "".join([*out, "</div>"])


def courses(rows: Sequence[Row], series: Sequence[Sequence[float]], unit: str) -> str:
    """How the median went while it was measured: one small line for each, all from 0 to the same height."""
    high = max(float(np.percentile(s, 98)) for s in series) * 1.15
    out = ['<div class="rows">']
    for row, s in zip(rows, series, strict=True):
        own = max(float(np.percentile(s, 98)) * 1.25, high / 50)
        points = " ".join(
            f"{100 * i / max(1, len(s) - 1):.2f},{100 - 100 * min(1.0, v / own):.1f}" for i, v in enumerate(s)
        )
        quarter = max(1, len(s) // 4)
        drift = float(np.median(s[-quarter:]) / np.median(s[:quarter])) - 1
        shape = svg(f'<polyline class="stroke c{row.colour}" points="{points}"/>')
        out.append(line(label(row), shape, f"{drift:+.1%}", kind="course"))
    return "".join([*out, "</div>"])


def ratios(rows: Sequence[Row], found: Sequence[dict]) -> str:
    """Ratios to a baseline with the range that each surely lies in; a line at 1."""
    values = [r[k] for r in found for k in ("low", "high")] + [1.0]
    scale = scale_of(values, from_zero=False)
    out = ['<div class="rows">']
    for row, r in zip(rows, found, strict=True):
        left, width = scale.at(r["low"]), max(scale.at(r["high"]) - scale.at(r["low"]), 0.4)
        plot = (
            f'{grid(scale)}<i class="one" {at(scale, 1)}></i>'
            f'<i class="range c{row.colour}" style="left:{left:.2f}%;width:{width:.2f}%"></i>'
            f'<i class="point c{row.colour}" {at(scale, r["ratio"])}></i>'
        )
        out.append(line(label(row), plot, f"{r['ratio']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}"))
    return "".join([*out, axis(scale, ""), "</div>"])


@dataclass(frozen=True)
class Line:
    """A named line of a plane: points (x, y); a single point is a dot with its name beside it."""

    name: str
    colour: int
    points: tuple[tuple[float, float], ...]


def plane(
    lines: Sequence[Line],
    x_unit: str,
    y_unit: str,
    x_name: str,
    y_name: str,
    ticks: bool = False,
    least: float | None = None,
) -> str:
    """Points and lines over two axes.

    Args:
        ticks: only at the points' own x values (counts of threads or classes).
        least: what the y axis spans at least; None: it begins at 0.
    """
    xs, ys = [p[0] for item in lines for p in item.points], [p[1] for item in lines for p in item.points]
    across = scale_of(xs, from_zero=not ticks)
    up = scale_of(ys, from_zero=least is None, least=least or 0.0)
    x_ticks = sorted(set(xs)) if ticks else across.ticks(5)
    marks = "".join(
        f'<i class="line" style="left:{across.at(x):.2f}%"></i>'
        f'<span class="xtick" style="left:{across.at(x):.2f}%">{tick(x, x_unit)}</span>'
        for x in x_ticks
    ) + "".join(
        f'<i class="level" style="bottom:{up.at(y):.2f}%"></i>'
        f'<span class="ytick" style="bottom:{up.at(y):.2f}%">{tick(y, y_unit)}</span>'
        for y in up.ticks(5)
    )
    shapes = "".join(
        f'<polyline class="stroke c{item.colour}" points="'
        + " ".join(f"{across.at(x):.2f},{100 - up.at(y):.2f}" for x, y in item.points)
        + '"/>'
        for item in lines
        if len(item.points) > 1
    )
    dots = "".join(
        f'<i class="point c{item.colour}" style="left:{across.at(x):.2f}%;bottom:{up.at(y):.2f}%" '
        f'title="{escape(item.name)}: {number(x, x_unit)}, {number(y, y_unit)}"></i>'
        for item in lines
        for x, y in item.points
    )
    names = "".join(f'<span><b class="dot c{item.colour}"></b>{escape(item.name)}</span>' for item in lines)
    return (
        f'<figure class="plane"><figcaption class="yname">{escape(y_name)}</figcaption><div class="field">{marks}'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{shapes}</svg>{dots}</div>'
        f'<figcaption class="xname">{escape(x_name)}</figcaption><div class="legend">{names}</div></figure>'
    )


def profile(operators: Sequence[Sequence], unit: str, colour: int, most: int = 14) -> str:
    """An operator's share of the time, the greatest first, the rest together."""
    total = sum(t for _, _, t in operators) or 1.0
    ordered = sorted(operators, key=lambda o: -o[2])
    shown = [(f"{name}", kind, t) for name, kind, t in ordered[:most]]
    if rest := ordered[most:]:
        shown.append((f"{len(rest)} more", "", sum(t for _, _, t in rest)))
    greatest = max(t for _, _, t in shown) or 1.0
    lines = "".join(
        line(
            f'<div class="label"><span>{escape(name)}<small>{escape(kind)}</small></span></div>',
            bar(100 * t / greatest, colour),
            f"{t / total:.1%}",
            number(t, unit, True),
        )
        for name, kind, t in shown
    )
    return f'<div class="rows dense">{lines}</div>'
