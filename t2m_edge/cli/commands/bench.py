"""t2m-edge bench MODEL... and bench history|compare|export: what a model costs on a device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from t2m_edge.cli.options import Debug, Json, new_app
from t2m_edge.cli.output import print_json, say, say_table, warn

app = new_app("""Measures what models cost on a device, and keeps the results.

\b
t2m-edge bench model.tflite
t2m-edge bench new.tflite --baseline old.tflite --fail-if-slower 5%
t2m-edge bench history

The options of measuring: t2m-edge bench run --help. The word run may be left out.
""")
DEFAULT = "run"

Database = Annotated[
    Path | None,
    typer.Option("--database", metavar="FILE", help="Results database. [default: $T2M_BENCH_DB or ~/.local]"),
]


@app.command()
def run(
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help=".tflite or .onnx files of t2m-edge compile.")
    ],
    engine: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Engines; by default the one that is installed.")
    ] = None,
    threads: Annotated[str, typer.Option(metavar="N,...", help="Thread counts.")] = "1",
    seconds: Annotated[float, typer.Option(metavar="S", help="Steady state of each run, in seconds.")] = 10.0,
    cooldown: Annotated[float, typer.Option(metavar="S", help="Rest before each run, in seconds.")] = 0.0,
    baseline: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="A model that takes turns with each: their ratio is reported.")
    ] = None,
    fail_if_slower: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Exit code 1 if a model is surely slower than --baseline by this: 5%."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    database: Database = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Measures load, first inference, steady state, frames, memory; keeps the results in a local database.

    \b
    t2m-edge bench run model.tflite
    t2m-edge bench run model.tflite --engine litert --threads 1,2 --seconds 60
    t2m-edge bench run new.tflite --baseline old.tflite --fail-if-slower 5%
    """
    from t2m_bench.run import Plan, run_plan
    from t2m_bench.store import add, default_path
    from t2m_runtime.errors import InputError

    share = _share(fail_if_slower)
    if share is not None and baseline is None:
        raise InputError("--fail-if-slower compares with --baseline MODEL; name one")
    if sum((markdown, csv, json)) > 1:
        raise InputError("give one of --json, --csv and --markdown")
    plan = Plan(
        models=tuple(models),
        engines=tuple(engine.split(",")) if engine else (None,),
        threads=_counts(threads),
        seconds=seconds,
        cooldown=cooldown,
        baseline=baseline,
    )
    results = [r.as_dict() for r in run_plan(plan, progress=_progress)]
    add(database or default_path(), results)
    slower = [r for r in results if share is not None and r["baseline"]["low"] > 1 + share]
    if json:
        print_json("bench", {"results": results, "slower": [r["model"] for r in slower]})
    else:
        _print(results, markdown, csv)
        for r in results:
            warn(f"{r['model']}: {text}" for text in r["suspect"])
    for r in slower:
        base = r["baseline"]
        warn([f"{r['model']} takes {base['ratio']:.3f} times as long as {base['model']} (at least {base['low']:.3f})"])
    return 1 if slower else 0


@app.command()
def history(
    model: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Part of a file name, or of a hash.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="The newest N.")] = 20,
    database: Database = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Lists kept results, oldest first.

    \b
    t2m-edge bench history
    t2m-edge bench history grocery --limit 5
    """
    from t2m_bench.store import default_path
    from t2m_bench.store import history as rows_of

    rows = rows_of(database or default_path(), model, limit)
    if json:
        print_json("bench history", {"results": rows})
        return
    cells = [
        [
            *(str(r[k]) for k in ("id", "time", "model", "engine", "threads")),
            *(f"{r[k]:.3f}" for k in ("p50_ms", "p90_ms")),
            "suspect" if r["suspect"] else "",
        ]
        for r in rows
    ]
    say_table(["id", "time", "model", "engine", "threads", "p50 ms", "p90 ms", ""], cells, right=(0, 4, 5, 6))


@app.command()
def compare(
    first: Annotated[int, typer.Argument(metavar="ID", help="A result of bench history.")],
    second: Annotated[int, typer.Argument(metavar="ID", help="Another one.")],
    database: Database = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Puts two kept results beside each other; unlike runs (machine, engine, threads) are refused.

    \b
    t2m-edge bench compare 3 7
    """
    from t2m_bench.results import unlike
    from t2m_bench.store import default_path, get
    from t2m_runtime.errors import InputError

    a, b = (get(database or default_path(), number) for number in (first, second))
    if differences := unlike(a, b):
        raise InputError(f"results {first} and {second} differ in {', '.join(differences)}: they tell nothing together")
    ratios = {k: b["runs"][k] / a["runs"][k] for k in ("p50", "p90", "p99", "mean")}
    if json:
        print_json("bench compare", {"first": a, "second": b, "ratios": ratios})
        return
    names = ["p50", "p90", "p99", "mean"]
    rows = [[n, f"{a['runs'][n]:.3f}", f"{b['runs'][n]:.3f}", f"{ratios[n]:.3f}"] for n in names]
    say_table(
        ["ms", f"{first}: {Path(a['model']).name}", f"{second}: {Path(b['model']).name}", "ratio"], rows, (1, 2, 3)
    )
    say("The runs were not taken in turn: for a verdict use t2m-edge bench NEW --baseline OLD.")


@app.command()
def export(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="A new .json file.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Part of a file name, or of a hash.")] = None,
    database: Database = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Writes kept results, raw times included, to a file.

    \b
    t2m-edge bench export results.json
    """
    from json import dumps

    from t2m_bench.results import SCHEMA
    from t2m_bench.store import default_path, get
    from t2m_bench.store import history as rows_of
    from t2m_runtime.errors import InputError

    path = database or default_path()
    results = [get(path, r["id"]) for r in rows_of(path, model, 1_000_000)]
    if output.exists():
        raise InputError(f"{output} exists; give another name")
    output.write_text(dumps({"schema_version": SCHEMA, "results": results}, indent=1) + "\n", "utf-8")
    if json:
        print_json("bench export", {"output": str(output), "results": len(results)})
    else:
        say(f"{output}: {len(results)} results")


COLUMNS = (
    "model",
    "engine",
    "threads",
    "load ms",
    "first ms",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "frame ms",
    "peak MB",
    "size kB",
)


def _cells(result: dict[str, Any]) -> list[str]:
    runs = result["runs"]
    times = [
        result["load_s"] * 1e3,
        result["first_s"] * 1e3,
        runs["p50"],
        runs["p90"],
        runs["p99"],
        result["frame"]["p50"],
    ]
    return [
        Path(result["model"]).name, result["engine"], str(result["threads"]), *(f"{t:.3f}" for t in times),
        f"{result['peak_mb']:.0f}", f"{result['size_bytes'] / 1000:.0f}",
    ]  # fmt: skip


def _print(results: list[dict[str, Any]], markdown: bool, csv: bool) -> None:
    rows, header = [_cells(r) for r in results], list(COLUMNS)
    if any(r["baseline"] for r in results):
        header.append("to baseline")
        for row, r in zip(rows, results, strict=True):
            base = r["baseline"]
            row.append(f"{base['ratio']:.3f} ({base['low']:.3f} to {base['high']:.3f})")
    if csv:
        import csv as csv_format
        import sys

        csv_format.writer(sys.stdout).writerows([header, *rows])
    elif markdown:
        for line in (header, ["---"] * len(header), *rows):
            say(f"| {' | '.join(line)} |")
    else:
        say_table(header, rows, right=range(2, len(header)))


def _progress(text: str) -> None:
    import sys

    print(text, file=sys.stderr, flush=True)


def _counts(text: str) -> tuple[int, ...]:
    from t2m_runtime.errors import InputError

    parts = text.split(",")
    if not all(p.strip().isdigit() and 1 <= int(p) <= 256 for p in parts):
        raise InputError(f"--threads is {text!r}; give counts from 1 to 256, such as 1,2,4")
    return tuple(int(p) for p in parts)


def _share(text: str | None) -> float | None:
    from t2m_runtime.errors import InputError

    if text is None:
        return None
    try:
        share = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 10:
        raise InputError(f"--fail-if-slower is {text!r}; give a share such as 5% or 0.05")
    return share
