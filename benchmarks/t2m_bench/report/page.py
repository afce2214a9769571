"""A report's sections, in the order in which a reader asks: what does it cost, can I believe it, where does it go?"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from t2m_bench.report.plots import Row
from t2m_bench.report.sections import COLOURS, Result, kind_of, measured, section
from t2m_bench.table import as_csv

STYLE = Path(__file__).with_name("style.css")


def page(results: Sequence[Result]) -> str:
    """The whole page.

    Args:
        results: at least one, as Result.as_dict gives them; those of different units are kept apart.
    """
    names, details = _names(results), _details(results)
    devices = list(dict.fromkeys(_device(r) for r in results))
    days = sorted({r["when"][:10] for r in results})
    models, kinds = list(dict.fromkeys(names)), list(dict.fromkeys(map(kind_of, results)))
    title = models[0] if len(models) == 1 else f"{len(models)} models"
    if len(results) > len(models):
        title += f", {len(results)} measurements"
    body = [_header(title, devices, days, results)]
    for unit in dict.fromkeys(r["unit"] for r in results):
        chosen = [i for i, r in enumerate(results) if r["unit"] == unit]
        body += measured(
            [results[i] for i in chosen],
            [Row(names[i], details[i], kinds.index(kind_of(results[i])) % COLOURS) for i in chosen],
            unit,
        )
    body += [_trust(results, names, details), _machines(results), _downloads(results)]
    return PAGE.format(title=escape(title), style=STYLE.read_text("utf-8"), body="".join(body))


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>{title} · t2m-edge bench</title><style>{style}</style></head>
<body><main>{body}</main></body></html>
"""


def _names(results: Sequence[Result]) -> list[str]:
    """File names; where two are the same, their folders tell them apart."""
    short = [r["name"] for r in results]
    hashes = {name: {r["sha256"] for r in results if r["name"] == name} for name in short}
    return [f"{Path(r['model']).parent.name}/{r['name']}" if len(hashes[r["name"]]) > 1 else r["name"] for r in results]


def _details(results: Sequence[Result]) -> list[str]:
    """Engine, threads and device; where a file has the same twice, also when that was."""
    out = []
    for r in results:
        threads = f"{r['threads']} thread{'s' if r['threads'] > 1 else ''}"
        out.append(f"{r['engine']} · {threads}" + ("" if r["device"] == "local" else f" · {r['device']}"))
    alike = Counter((r["sha256"], detail) for r, detail in zip(results, out, strict=True))
    start = 11 if len({r["when"][:10] for r in results}) == 1 else 0
    return [
        f"{detail} · {_moment(r['when'])[start:]}" if alike[r["sha256"], detail] > 1 else detail
        for r, detail in zip(results, out, strict=True)
    ]


def _device(result: Result) -> str:
    return result["machine"]["processor"] if result["device"] == "local" else result["device"]


def _header(title: str, devices: list[str], days: list[str], results: Sequence[Result]) -> str:
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    doubted = sum(bool(r["suspect"]) for r in results)
    mark = (
        f'<p class="banner warn"><b>{doubted} of {len(results)} suspect.</b> '
        'The machine was not at rest; see <a href="#trust">why</a> before you quote a number.</p>'
        if doubted
        else ""
    )
    counted = any(r["unit"] == "instructions" for r in results)
    count = '<p class="banner">Instruction counts are exact and repeat, but they are not times.</p>' if counted else ""
    return (
        f'<header><p class="kicker">t2m-edge bench</p><h1>{escape(title)}</h1>'
        f'<p class="sub">{escape(" · ".join([*devices[:3], when]))}</p>{mark}{count}</header>'
    )


def _trust(results: Sequence[Result], names: list[str], details: list[str]) -> str:
    """Doubts and checks; what has the same of both stands together."""
    groups: dict[str, list[Row]] = {}
    for r, name, detail in zip(results, names, details, strict=True):
        doubts = "".join(f'<li class="doubt">{escape(text)}</li>' for text in r["suspect"])
        checks = "".join(
            f'<li class="{"kept" if kept else "open"}">{escape(rule)}</li>' for rule, kept in r["checks"].items()
        )
        if doubts or checks:
            groups.setdefault(f"<ul>{doubts}{checks}</ul>", []).append(Row(name, detail, 0))
    if not groups:
        return ""
    lines = [
        "<div class='trust'>"
        + "".join(f"<h3>{escape(r.name)}<small>{escape(r.detail)}</small></h3>" for r in rows)
        + found
        + "</div>"
        for found, rows in groups.items()
    ]
    text = "Reasons to distrust a run, and the rules of MLPerf Mobile and MLPerf Tiny that it kept (✓) or not (○)."
    return section("Can it be believed?", text, f'<div class="trusts">{"".join(lines)}</div>', "trust")


def _machines(results: Sequence[Result]) -> str:
    seen: dict[str, list[Result]] = {}
    for r in results:
        seen.setdefault(json.dumps([r["device"], r["machine"]]), []).append(r)
    out = []
    for group in seen.values():
        first, last = group[0], group[-1]
        machine, before, after = first["machine"], first["before"], last["after"]
        facts = [
            ("device", first["device"]), ("processor", machine["processor"]),
            ("architecture", machine["architecture"]), ("cores", machine["cores"]),
            ("memory", f"{machine['memory_mb']:,} MB" if machine["memory_mb"] else None),
            ("system", machine["system"]), ("name", machine["name"]), ("Python", machine["python"]),
            ("clock", _change(before["clock_mhz"], after["clock_mhz"], "{:.0f} MHz")),
            ("governor", _change(before["governor"], after["governor"], "{}")),
            ("temperature", _change(before["temperature_c"], after["temperature_c"], "{:.0f} °C")),
            ("load before", None if before["load"] is None else f"{before['load']:.2f}"),
            ("commit", (first["commit"] or "")[:12]),
            ("measured", " to ".join(dict.fromkeys(_moment(r["when"]) for r in (first, last)))),
        ]  # fmt: skip
        items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in facts if v)
        out.append(f'<dl class="facts">{items}</dl>')
    return section(
        "Where", "What the system shows of itself; arrows: before the first run, after the last.", "".join(out)
    )


def _moment(when: str) -> str:
    """2026-01-01T10:00:00+00:00 -> 2026-01-01 10:00 UTC"""
    return f"{when[:10]} {when[11:16]} UTC"


def _change(before: Any, after: Any, form: str) -> str | None:
    if before is None:
        return None
    first, last = form.format(before), form.format(after)
    return first if first == last else f"{first} → {last}"


def _downloads(results: Sequence[Result]) -> str:
    raw = json.dumps({"schema_version": results[0]["schema_version"], "results": list(results)}).encode()
    links = "".join(
        f'<a class="button" download="{name}" href="data:{kind};base64,{base64.b64encode(data).decode()}">{name}</a>'
        for name, kind, data in (
            ("bench.json", "application/json", raw),
            ("bench.csv", "text/csv", as_csv(results).encode()),
        )
    )
    return section(
        "Raw data", "Everything on this page, and more, as it was measured.", f'<p class="links">{links}</p>'
    )
