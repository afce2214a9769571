"""Carries out a suite (suites.py): makes the models that it names, times that where asked, and measures them."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from t2m_bench.devices import Device
from t2m_bench.results import Result
from t2m_bench.run import KINDS, Photos, Plan, Progress, run_plan, run_seconds, settings
from t2m_bench.suites import Entry, Suite
from t2m_runtime import read_manifest
from t2m_runtime.errors import InputError, WorkError


@dataclass(frozen=True)
class Options:
    """What the command line adds to a suite: seconds overrides the suite's, data is the folder of paths in data/."""

    seconds: float | None = None
    cooldown: float | None = None
    data: Path | None = None
    photos: Callable[[Path, str | None], Photos] | None = None


def run_suite(
    suite: Suite, device: Device, options: Options, progress: Callable[[Progress], None] = lambda _: None
) -> Iterator[Result]:
    """Results in the suite's order. Everything that is missing is found before the first measurement; what the device
    cannot measure of heads, profiles and photos is left out.

    Raises:
        InputError: a file is missing, or as run_plan.
        WorkError: t2m-edge compile failed.
    """
    found = [(entry, _paths(entry, suite, options.data)) for entry in suite.runs]
    if any(entry.converter for entry in suite.runs):
        from t2m_bench.converters import check

        check()
    seconds = options.seconds or suite.seconds
    share = run_seconds(seconds, device)
    progress = _of_all(progress, [_steps(entry, paths, share) for entry, paths in found])
    ended = None
    with tempfile.TemporaryDirectory() as folder:
        for number, (entry, paths) in enumerate(found):
            here = Path(folder) / str(number)
            here.mkdir()
            photos = None
            if entry.photos and options.photos:
                photos = options.photos(_path(entry.photos, suite.folder, options.data), entry.inside)
            for models, head, costs in _models(entry, paths, here, progress):
                plan = Plan(
                    models=models, engines=entry.engines, threads=entry.threads, seconds=seconds,
                    cooldown=options.cooldown, head=head, profile=entry.profile, photos=photos,
                    photos_name=entry.photos or "", suite=suite.suite,
                )  # fmt: skip
                able = replace(plan, **{name: Plan.__dataclass_fields__[name].default for name in device.lacks})
                for result in run_plan(_fitting(able), device, progress, ended):
                    ended = time.monotonic()
                    yield replace(result, compile=costs.get(result.name))


COMPILE_SECONDS = 0.6
CONVERT_SECONDS = 15.0


def _steps(entry: Entry, paths: list[Path], share: float) -> list[float]:
    """About how long each thing takes that is announced while an entry is measured, in seconds; share: a run."""
    if entry.models:
        return [share] * sum(len(settings(entry.engines, entry.threads, path.suffix[1:])) for path in paths)
    runs = sum(len(settings(entry.engines, entry.threads, target)) for target in entry.targets)
    steps: list[float] = []
    for _ in entry.classes or paths:
        steps += [COMPILE_SECONDS * (2 + entry.compile)] * (len(entry.precisions) * len(entry.targets))
        steps += [share] * (len(entry.precisions) * runs)
        if entry.converter:
            steps += [CONVERT_SECONDS * (1 + entry.converter)] + [share] * len(entry.threads)
    return steps


def _of_all(progress: Callable[[Progress], None], entries: list[list[float]]) -> Callable[[Progress], None]:
    """Progress of one plan after the other -> progress of the whole suite."""
    steps = [seconds for entry in entries for seconds in entry]
    done = itertools.count()

    def show(step: Progress) -> None:
        number = min(next(done), len(steps) - 1)
        progress(Progress(number, len(steps), step.what, sum(steps[number:])))

    return show


def _fitting(plan: Plan) -> Plan:
    """Without the models that none of the engines runs: a suite lists engines for several kinds."""
    kinds = {KINDS.get(engine) for engine in plan.engines if engine}
    models = tuple(m for m in plan.models if None in plan.engines or m.suffix[1:] in kinds)
    return replace(plan, models=models or plan.models)


def _paths(entry: Entry, suite: Suite, data: Path | None) -> list[Path]:
    """The files that an entry names, which must be there."""
    if entry.photos:
        _path(entry.photos, suite.folder, data)
    if entry.task:
        return [_path(entry.task, suite.folder, data)]
    found = []
    for name in entry.models:
        path = _path(name, suite.folder, data, glob=True)
        matches = sorted(path.parent.glob(path.name)) if any(c in path.name for c in "*?[") else [path]
        if not matches:
            raise InputError(f"{path}: no file matches; check the suite's models and --data")
        found += matches
    return found


def _path(name: str, folder: Path, data: Path | None, glob: bool = False) -> Path:
    if name.startswith("data/"):
        if data is None:
            raise InputError(f"the suite needs {name}: give the folder that has {name[5:]} with --data FOLDER")
        path = data / name[5:]
    else:
        path = folder / name
    if not glob and not path.exists():
        raise InputError(f"{path}: there is no such file; the suite needs it")
    return path


Made = tuple[tuple[Path, ...], "Path | None", dict[str, dict[str, Any]]]


def _models(entry: Entry, paths: list[Path], folder: Path, progress: Callable[[Progress], None]) -> Iterator[Made]:
    """(models, a head file or None, model's name -> what making it cost): what an entry measures, made if need be."""
    if entry.models:
        yield tuple(paths), None, {}
        return
    tasks = [(path.stem, path) for path in paths]
    for count in entry.classes:
        path = folder / f"{count} classes.txt"
        path.write_text("".join(f"{line}\n" for line in generated_classes(count)), "utf-8")
        tasks.append((f"{count}-classes", path))
    for name, task in tasks:
        groups: dict[str, list[Path]] = {}
        costs: dict[str, dict[str, Any]] = {}
        for precision, target in itertools.product(entry.precisions, entry.targets):
            model = folder / f"{name}.{precision}.{target}"
            progress(Progress(0, 1, f"compiling {model.name}", 1.0 + entry.compile))
            found = compile_costs(task, model, precision, entry.compile, 0.0 if entry.classes else None)
            costs.update({model.name: found} if found else {})
            groups.setdefault("int8" if entry.head and precision == "int8" else "fp32", []).append(model)
        for precision, models in groups.items():
            head = folder / f"{name}.{precision}.t2mh" if entry.head else None
            if head:  # an int8 one for int8 models, a float one for all others
                compile_costs(task, head, precision, 0)
            yield tuple(models), head, costs
        if entry.converter:
            from t2m_bench.converters import convert

            model = folder / f"{name}.litert-torch.tflite"
            progress(Progress(0, 1, f"converting {model.name}", 15.0 * entry.converter))
            classes = len(read_manifest(models[0]).labels)
            yield (model,), None, {model.name: convert(model, classes, entry.converter)}


def compile_costs(
    task: Path, model: Path, precision: str, processes: int, min_agreement: float | None = None
) -> dict[str, Any] | None:
    """Makes a model with t2m-edge compile; what new processes of that take, after one to warm the disk, if any.

    min_agreement: as of compile; generated classes are alike, and their accuracy is not what is measured.

    Raises:
        InputError, WorkError: it failed, by its exit code; the message is its own.
    """
    command = [sys.executable, "-m", "t2m_edge.cli", "compile", str(task), "-o", str(model), "--precision", precision]
    if model.suffix == ".t2mh":
        command[5:5] = ["--target", "head"]
    if min_agreement is not None:
        command += ["--min-agreement", str(min_agreement)]
    first = subprocess.run(command, capture_output=True)
    if first.returncode:
        kind = InputError if first.returncode == 2 else WorkError
        raise kind(f"t2m-edge compile of {task.name} failed: {last_line(first.stderr)}")
    if not processes:
        return None
    runs = [process([*command, "--overwrite"]) for _ in range(processes)]
    return {"command": f"t2m-edge compile --precision {precision}", **summary_of(runs)}


def summary_of(runs: list[tuple[float, float]]) -> dict[str, float]:
    """Of (seconds, peak MB) of several processes."""
    seconds = [s for s, _ in runs]
    return {
        "processes": len(runs),
        "median_s": statistics.median(seconds),
        "min_s": min(seconds),
        "peak_mb": max(m for _, m in runs),
    }


def process(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident memory in MB of one new process.

    Raises:
        WorkError: it failed; the message ends with its own last line.
    """
    with tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)  # already waited for
        if status:
            err.seek(0)
            raise WorkError(
                f"{' '.join(command[:3])[:80]} failed with status {child.returncode}: {last_line(err.read())}"
            )
    return seconds, usage.ru_maxrss / 1024


def last_line(err: bytes) -> str:
    """The last line that a command of t2m-edge said, which names what is wrong."""
    lines = err.decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in lines[::-1] if line.strip()), "it said nothing").removeprefix("error: ")[:300]


def generated_classes(count: int) -> list[str]:
    """Lines of a descriptions file for up to MAX_CLASSES classes: things of a colour, shape and place."""
    colours = ["red", "green", "blue", "yellow", "black", "white", "brown", "orange", "grey", "pink"]
    things = ["apple", "bird", "boat", "bottle", "bus", "cat", "chair", "cup", "dog", "fish",
              "flower", "horse", "house", "lamp", "leaf", "lemon", "pepper", "shoe", "table", "tree"]  # fmt: skip
    shapes = ["small", "large", "round", "long", "flat"]
    places = ["on a table", "in a garden", "on a shelf", "in the snow", "by the sea",
              "on grass", "in a box", "on a street", "in a kitchen", "in the rain"]  # fmt: skip
    combinations = itertools.product(places, shapes, colours, things)
    return [
        f"{shape} {colour} {thing} {place}: a {shape} {colour} {thing} {place}"
        for place, shape, colour, thing in itertools.islice(combinations, count)
    ]
