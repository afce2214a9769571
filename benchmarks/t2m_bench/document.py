"""Writes docs/benchmarks.md: the default pack's models, engines and peers, x86-64 as ratios and Arm as counts.

    python -m t2m_bench.document --data FOLDER -o docs/benchmarks.md

FOLDER has backbones/*.tflite (peers) and grocery.tar (accuracy); what is missing is left out and said. Under ten
minutes on two idle cores. Every ratio comes from two models (or engines) that took turns; --seconds is what each gets.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from t2m_bench.devices.board import Board, Transport
from t2m_bench.devices.local import LocalDevice
from t2m_bench.devices.qemu import QemuDevice
from t2m_bench.exits import one_line
from t2m_bench.machine import machine, state
from t2m_bench.request import Measured, Request
from t2m_bench.results import BUSY
from t2m_bench.suite_run import compile_costs, last_line, process, summary_of
from t2m_bench.suites import FOLDER
from t2m_bench.timing import Ratio, paired_ratio, summarise
from t2m_runtime.arena import arena_size
from t2m_runtime.errors import InputError

PRECISIONS = ("int8", "fp32", "fp16", "int8-dynamic")
COUNTED = ("cortex-a53", "cortex-a72", "cortex-a76", "cortex-m4", "cortex-m7", "cortex-m55")
ROUNDS = 5
"""How often two engines that cannot share a process take turns."""

HEAD = """\
# Benchmarks

The default pack's classifier of ten groceries beside other models, and what it costs on Arm processors.

Made by `python -m t2m_bench.document --data FOLDER -o docs/benchmarks.md`; on your own device: `t2m-edge bench`.
No millisecond is claimed for a device that was not there: times are ratios on {processor}, {cores} cores; Arm figures
are exact instruction counts in qemu, which repeat and are no times.
{busy}
"""


@dataclass(frozen=True)
class Line:
    """One model on one engine against the reference: the ratio of their medians, and their tails."""

    name: str
    engine: str
    ratio: Ratio
    tail: float
    size: int


def against(model: Path, reference: Path, seconds: float, threads: int = 1) -> Line:
    """A model and the reference in one process, in turn, each on the engine of its kind."""
    request = Request((str(model), str(reference)), threads=threads, seconds=seconds)
    (ours, theirs), _, _ = LocalDevice().measure(request)
    return _line(model, ours, paired_ratio(ours.blocks, theirs.blocks))


def in_rounds(model: Path, reference: Path, seconds: float, run: Callable[[float], Measured]) -> Line:
    """What cannot share a process with the reference: short runs of both in turn."""
    ours, theirs, last = [], [], None
    for _ in range(ROUNDS):
        last = run(seconds / ROUNDS)
        other = LocalDevice().measure(Request((str(reference),), seconds=seconds / ROUNDS))[0][0]
        count = min(len(last.blocks), len(other.blocks))
        ours += last.blocks[:count]
        theirs += other.blocks[:count]
    return _line(model, last, paired_ratio(ours, theirs))


def _line(model: Path, measured: Measured, ratio: Ratio) -> Line:
    runs = summarise(measured.runs)
    return Line(model.name, measured.engine, ratio, runs.p90 / runs.p50, model.stat().st_size)


def document(data: Path | None, seconds: float, say: Callable[[str], None]) -> str:
    """The page's text.

    Raises:
        InputError: before anything is measured: data has neither peers nor photos.
        WorkError: t2m-edge compile failed.
    """
    if data and not (_peer_files(data) or (data / "grocery.tar").is_file()):
        raise InputError(f"--data {data}: there is no backbones/*.tflite and no grocery.tar in it; name another folder")
    here, load = machine(), state().load
    busy = load is not None and load > BUSY * here.cores
    note = f"\n**Measured on a busy machine (load {load:.1f}): the ratios are rough.**\n" if busy else ""
    parts = [HEAD.format(processor=here.processor, cores=here.cores, busy=note)]
    with tempfile.TemporaryDirectory() as folder:
        models = dict(_compiled(Path(folder), say))
        reference = models["int8.tflite"]
        parts += _own(models, reference, data, seconds, say)
        parts += _peers(data, reference, seconds, say)
        parts += _counts(models, say)
        parts += _compile(Path(folder), say)
    return "\n".join(parts).rstrip() + "\n"


def _compiled(folder: Path, say: Callable[[str], None]) -> Iterator[tuple[str, Path]]:
    for target in ("tflite", "onnx"):
        for precision in PRECISIONS:
            say(f"compiling {precision} {target}")
            model = folder / f"groceries.{precision}.{target}"
            compile_costs(FOLDER / "groceries.txt", model, precision, 0)
            yield f"{precision}.{target}", model


def _own(
    models: dict[str, Path], reference: Path, data: Path | None, seconds: float, say: Callable[[str], None]
) -> list[str]:
    lines = []
    for model in models.values():
        say(model.name)
        lines.append(against(model, reference, seconds))
    if core := _core_here(reference):
        say("the C core")
        lines.append(in_rounds(reference, reference, seconds, core))
    two = Request((str(reference),), threads=2, seconds=seconds / ROUNDS)
    if machine().cores > 1:
        say("two threads")
        found = in_rounds(reference, reference, seconds, lambda s: LocalDevice().measure(two)[0][0])
        lines.append(Line(found.name, f"{found.engine}, 2 threads", found.ratio, found.tail, found.size))
    accuracy = _accuracy(lines, models, data, say)
    rows = [[*_cells(line), accuracy.get((line.name, _package(line)), "")] for line in lines]
    text = (
        "Time of one inference, one thread, as a ratio to the int8 `.tflite` on LiteRT (98 % interval), and how far "
        "the 90th percentile lies above the median."
    )
    if accuracy:
        text += (
            " Accuracy: photos of the ten classes, grocery.tar's test folder; unseen classes are in docs/accuracy.md."
        )
    header = ["model", "engine", "time", "p90 / p50", "file"] + (["accuracy"] if accuracy else [])
    return ["## Precisions, engines, threads\n", text + "\n", _table(header, [r[: len(header)] for r in rows])]


def _peer_files(data: Path) -> list[Path]:
    return sorted((data / "backbones").glob("*.tflite"))


def _peers(data: Path | None, reference: Path, seconds: float, say: Callable[[str], None]) -> list[str]:
    peers = _peer_files(data) if data else []
    if not peers:
        say("no peers: --data FOLDER has no backbones/*.tflite")
        return []
    rows = []
    for path in peers:
        say(path.name)
        line = against(path, reference, seconds)
        rows.append(_cells(line))
    text = "Other backbones, on LiteRT, one thread, against the same reference (whose input is 96 x 96 pixels).\n"
    return ["## Peers\n", text, _table(["model", "engine", "time", "p90 / p50", "file"], rows)]


def _counts(models: dict[str, Path], say: Callable[[str], None]) -> list[str]:
    rows, missing = [], []
    for cpu in COUNTED:
        for key in ("int8.tflite", "fp32.tflite"):
            if key.startswith("fp32") and "-m" in cpu:
                continue
            say(f"{key} on {cpu}")
            device, request = QemuDevice(cpu), Request((str(models[key]),))
            try:
                device.check([request])
                (found,), _, _ = device.measure(request)
            except InputError as error:
                missing.append(f"{cpu}: {error}")
                continue
            figures = (found.runs[0], found.prepare[0], found.load)
            rows.append([cpu, found.engine, key.split(".")[0], *(f"{n / 1e6:.2f}" for n in figures)])
    for text in missing:
        say(text)
    if not rows:
        return []
    arena = arena_size(models["int8.tflite"].read_bytes())
    text = (
        f"The C core, in millions of instructions. RAM of the int8 model: {arena:,} bytes. Cortex-A53 and A72 have no "
        "dot product; the Cortex-M run plain C.\n"
    )
    header = ["processor", "engine", "precision", "one inference", "a 640 x 480 frame to the input", "load"]
    return ["## Arm: instructions\n", text, _table(header, rows)]


def _compile(folder: Path, say: Callable[[str], None]) -> list[str]:
    say("compile")
    command = [sys.executable, "-m", "t2m_edge.cli", "compile", str(FOLDER / "groceries.txt"), "--overwrite"]
    command += ["-o", str(folder / "again.tflite")]
    bare = [sys.executable, "-c", "import numpy, onnxruntime"]
    process(command)
    process(bare)
    ours, theirs = (summary_of([process(c) for _ in range(7)]) for c in (command, bare))
    ratio = ours["median_s"] / theirs["median_s"]
    return [
        "## Compile\n",
        f"A new process of `t2m-edge compile` takes {ratio:.1f} times as long as a Python process that imports numpy "
        f"and ONNX Runtime and does nothing, and {ours['peak_mb']:.0f} MB at its peak.",
    ]


def _core_here(model: Path) -> Callable[[float], Measured] | None:
    """The C core on this machine, as the board program; None where no compiler is here."""
    board = Board(Transport("this machine", ("sh", "-c")))
    try:
        board.check([Request((str(model),))])
    except InputError:
        return None
    return lambda seconds: board.measure(Request((str(model),), seconds=seconds))[0][0]


def _package(line: Line) -> str:
    """The engine's name as --engine takes it."""
    return line.engine.split()[0]


def _accuracy(
    lines: Sequence[Line], models: dict[str, Path], data: Path | None, say: Callable[[str], None]
) -> dict[tuple[str, str], str]:
    """(model's name, engine) -> accuracy, by the t2m-edge command; of engines that this Python has."""
    photos = data / "grocery.tar" if data else None
    if photos is None or not photos.is_file():
        say("no accuracy: --data FOLDER has no grocery.tar")
        return {}
    paths = {path.name: str(path) for path in models.values()}
    found = {}
    for name, engine in dict.fromkeys((line.name, _package(line)) for line in lines):
        say(f"accuracy of {name} on {engine}")
        command = [sys.executable, "-m", "t2m_edge.cli", "eval", paths[name], str(photos), "--inside", "test"]
        done = subprocess.run([*command, "--allow-missing", "--engine", engine, "--json"], capture_output=True)
        if done.returncode == 0:
            found[name, engine] = f"{json.loads(done.stdout)['accuracy']:.1%}"
        else:
            say(last_line(done.stderr))
    return found


def _cells(line: Line) -> list[str]:
    r = line.ratio
    return [
        f"`{line.name}`",
        line.engine,
        f"{r.ratio:.2f} ({r.low:.2f} to {r.high:.2f})",
        f"{line.tail:.2f}",
        f"{line.size / 1e6:.2f} MB",
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=4.0)
    args = parser.parse_args()
    if not args.output.absolute().parent.is_dir():
        parser.error(f"{args.output.parent}: there is no such folder for the page")
    with one_line():
        text = document(args.data, args.seconds, lambda step: print(step, file=sys.stderr, flush=True))
    aside = args.output.with_name(f".{args.output.name}.{os.getpid()}")
    aside.write_text(text, "utf-8")
    os.replace(aside, args.output)


if __name__ == "__main__":
    main()
