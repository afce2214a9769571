"""t2m-edge bench MODEL... and bench history|compare|export: what a model costs on a device."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from t2m_edge.cli.bench_output import Steps, doubts, kept_as, print_results, shown
from t2m_edge.cli.options import Debug, Json, Overwrite, new_app
from t2m_edge.cli.output import print_json, say, say_table, warn

app = new_app("""Measures what models cost on a device, and keeps the results.

\b
t2m-edge bench model.tflite
t2m-edge bench model.tflite --device ssh:pi@raspberrypi --report costs.html
t2m-edge bench new.tflite --baseline old.tflite --fail-if-slower 5%
t2m-edge bench --suite quick
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
        list[Path] | None, typer.Argument(metavar="[MODEL...]", help=".tflite or .onnx files, ours or any others.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Instead of models: a suite, ours or a .yaml file.")
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="WHERE", help="local, ssh:USER@HOST, adb:SERIAL, qemu:CPU or browser.")
    ] = "local",
    engine: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Engines; by default the one that is installed.")
    ] = None,
    threads: Annotated[
        str | None, typer.Option(metavar="N,...", help="Thread counts; the C core takes 1 alone. [default: 1]")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Steady state of each run. [default: 10, or the suite's]")
    ] = None,
    cooldown: Annotated[
        float | None,
        typer.Option(metavar="S", help="Rest before each run. [default: on ssh and adb as long as a run, at most 60]"),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="A model that takes turns with each: their ratio is reported.")
    ] = None,
    fail_if_slower: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Exit code 1 if a model is surely slower than --baseline by this: 5%."),
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Folder or tar, one folder a class: accuracy, same settings.")
    ] = None,
    inside: Annotated[
        str | None, typer.Option(metavar="PATH", help="The folder in --photos that holds the class folders.")
    ] = None,
    head: Annotated[Path | None, typer.Option(metavar="HEAD", help="A .t2mh file whose swap is timed.")] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Say what each operator takes.")] = False,
    meter: Annotated[
        str | None, typer.Option(metavar="NAME", help="Energy: powercap, hwmon or PACKAGE.MODULE:NAME.")
    ] = None,
    data: Annotated[Path | None, typer.Option(metavar="FOLDER", help="What data/ means in a suite.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an .html report.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values: all figures, unrounded.")] = False,
    overwrite: Overwrite = False,
    database: Database = None,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Measures models and keeps the results. Load, first inference, steady state, frames, memory, each for itself.

    \b
    t2m-edge bench run model.tflite
    t2m-edge bench run model.tflite --engine litert --threads 1,2 --seconds 60 --report costs.html
    t2m-edge bench run model.tflite --device qemu:cortex-a72
    t2m-edge bench run new.tflite --baseline old.tflite --fail-if-slower 5%
    t2m-edge bench run --suite latency

    Without --engine a board runs the C core, which is sent there and removed again.
    """
    from t2m_bench import store
    from t2m_bench.devices import open_device
    from t2m_bench.report import page
    from t2m_bench.run import Plan, left_out, run_plan
    from t2m_bench.suite_run import Options, run_suite
    from t2m_bench.suites import names, read_suite
    from t2m_bench.table import as_csv
    from t2m_runtime.errors import InputError

    share = _share(fail_if_slower)
    if share is not None and baseline is None:
        raise InputError("--fail-if-slower compares with --baseline MODEL; name one")
    if inside and not photos:
        raise InputError("--inside names a folder in --photos; give that too")
    if data and not suite:
        raise InputError("--data is for --suite; photos are given with --photos")
    if sum((markdown, csv, json)) > 1:
        raise InputError("give one of --json, --csv and --markdown")
    if bool(models) == bool(suite):
        both = ", not both" if models else ""
        raise InputError(f"give models, or --suite {'|'.join(names())}|FILE.yaml{both}")
    if report:
        _check_output(report, ".html", overwrite)
    kept = database or store.default_path()
    store.check(kept)
    where, steps = open_device(device), Steps()
    if suite:
        given = {
            "--engine": engine, "--threads": threads, "--baseline": baseline, "--head": head, "--photos": photos,
            "--profile": profile, "--meter": meter,
        }  # fmt: skip
        if named := [option for option, value in given.items() if value]:
            raise InputError(f"{', '.join(named)} cannot be given with --suite: write it into a suite of your own")
        options = Options(seconds, cooldown, data, _open_photos)
        plan, found = None, run_suite(read_suite(suite), where, options, steps.show)
    else:
        plan = Plan(
            models=tuple(models or ()),
            engines=tuple(engine.split(",")) if engine else (None,),
            threads=_counts(threads or "1"),
            seconds=10.0 if seconds is None else seconds,
            cooldown=cooldown,
            baseline=baseline,
            head=head,
            profile=profile,
            meter=meter,
            photos=_open_photos(photos, inside) if photos else None,
            photos_name=str(photos or ""),
        )
        found = run_plan(plan, where, steps.show)
    results: list[dict[str, Any]] = []
    numbers: list[int] = []
    quiet = json or csv or markdown
    try:
        for result in found:
            results.append(result.as_dict())
            numbers += store.add(kept, results[-1:])
    finally:
        steps.close()
        slower = [r for r in results if share is not None and r["baseline"]["low"] > 1 + share]
        if results:  # also those from before a device was lost
            if json:
                print_json("bench", {"results": results, "slower": [r["model"] for r in slower]})
            elif csv:
                for line in as_csv(results).splitlines():
                    say(line)
            else:
                print_results(results, markdown)
            warn([*(left_out(plan) if plan else []), *doubts(results)])
            if not quiet and numbers:
                say(kept_as(numbers, report is None))
            if report:
                _write(report, page(results))
                if not quiet:
                    say(f"{report}: the report")
    for r in slower:
        base = r["baseline"]
        warn([f"{r['model']} takes {base['ratio']:.3f} times as long as {base['model']} (at least {base['low']:.3f})"])
    if share is not None and baseline and not slower and not quiet:
        say(f"No model is surely slower than {baseline.name} by {fail_if_slower}.")
    return 1 if slower else 0


@app.command()
def history(
    model: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Part of a file name, or of a hash.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The newest N.")] = 20,
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
    if not rows:
        say(_none(database or default_path(), model))
        return
    cells = [
        [
            *(str(r[k]) for k in ("id", "time", "model", "engine", "threads")),
            *(shown(r[k], r["unit"]) for k in ("p50", "p90")),
            r["device"],
            "suspect" if r["suspect"] else "",
        ]
        for r in rows
    ]
    say_table(["id", "time", "model", "engine", "threads", "p50", "p90", "device", ""], cells, right=(0, 4, 5, 6))


@app.command()
def compare(
    first: Annotated[int, typer.Argument(metavar="ID", help="A result of bench history.")],
    second: Annotated[int, typer.Argument(metavar="ID", help="Another one.")],
    database: Database = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Puts two kept results beside each other. Unlike runs (machine, engine, threads) are refused.

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
    rows = [[n, shown(a["runs"][n], a["unit"]), shown(b["runs"][n], b["unit"]), f"{ratios[n]:.3f}"] for n in names]
    say_table([a["unit"], f"{first}: {a['name']}", f"{second}: {b['name']}", "ratio"], rows, (1, 2, 3))
    say("The runs were not taken in turn: for a verdict use t2m-edge bench NEW --baseline OLD.")


@app.command()
def export(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="A new .json file.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Part of a file name, or of a hash.")] = None,
    overwrite: Overwrite = False,
    database: Database = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Writes kept results to a .json file. All that was measured is in it.

    \b
    t2m-edge bench export results.json
    """
    from json import dumps

    from t2m_bench.results import SCHEMA
    from t2m_bench.store import default_path, get
    from t2m_bench.store import history as rows_of
    from t2m_runtime.errors import InputError

    _check_output(output, ".json", overwrite)
    path = database or default_path()
    results = [get(path, r["id"]) for r in rows_of(path, model, 1_000_000)]
    if not results:
        raise InputError(_none(path, model))
    _write(output, dumps({"schema_version": SCHEMA, "results": results}, indent=1) + "\n")
    if json:
        print_json("bench export", {"output": str(output), "results": len(results)})
    else:
        say(f"{output}: {len(results)} results")


@app.command()
def report(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="A new .html file.")],
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Part of a file name, or of a hash.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The newest N.")] = 20,
    overwrite: Overwrite = False,
    database: Database = None,
    debug: Debug = False,
) -> None:
    """Writes kept results as one .html page. It has plots, tables, device facts and the raw data, and needs no network.

    \b
    t2m-edge bench report costs.html
    t2m-edge bench report costs.html --model grocery --limit 4
    """
    from t2m_bench.report import page
    from t2m_bench.store import default_path, get
    from t2m_bench.store import history as rows_of
    from t2m_runtime.errors import InputError

    _check_output(output, ".html", overwrite)
    path = database or default_path()
    results = [get(path, r["id"]) for r in rows_of(path, model, limit)]
    if not results:
        raise InputError(_none(path, model))
    _write(output, page(results))
    say(f"{output}: the report")


def _none(path: Path, model: str | None) -> str:
    return f"{path} has no results{f' of {model}' if model else ''}; t2m-edge bench MODEL makes some"


def _check_output(path: Path, ending: str, overwrite: bool) -> None:
    from t2m_edge.compiler.saving import check_regular
    from t2m_runtime.errors import InputError

    if path.suffix.casefold() != ending:
        raise InputError(f"{path} should end in {ending}")
    check_regular(path)
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give another name, or --overwrite")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no such folder")
    if not os.access(path.absolute().parent, os.W_OK):
        raise InputError(f"{path}: the folder cannot be written to")


def _write(path: Path, text: str) -> None:
    from t2m_edge.compiler.saving import save
    from t2m_runtime.errors import InputError

    try:
        save(path, text.encode(), overwrite=True)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None


def _open_photos(folder: Path, inside: str | None) -> Any:
    """Labelled photos, as t2m_bench.run.Photos; folders that are no class of the model are left out."""
    from t2m_edge.cli.image_folder import ImageFolder, match_folders
    from t2m_runtime.errors import InputError

    def labelled(labels: tuple[str, ...]) -> Any:
        with ImageFolder(folder, inside) as photos:
            index_of = match_folders(photos.folders, labels)
            if not index_of:
                raise InputError(f"{folder}: no folder is named like a class of the model ({', '.join(labels[:10])})")
            for photo in photos.without([name for name in photos.folders if name not in index_of]):
                yield index_of[photo.folder], photos.read(photo)

    with ImageFolder(folder, inside):
        return labelled


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
    if not 0 <= share <= 10 or (share >= 1 and not text.endswith("%")):
        raise InputError(f"--fail-if-slower is {text!r}; give a share such as 5% or 0.05")
    return share
