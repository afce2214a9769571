"""t2m-edge compile: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2m_edge.cli.choices import one_of
from t2m_edge.cli.options import Debug, Json, Overwrite, PackName, new_app
from t2m_edge.cli.output import print_json, say, warn

app = new_app()


@app.command()
def compile_task(
    task: Annotated[Path, typer.Argument(metavar="TASK", help="A descriptions file: .txt, .csv, .json or .yaml.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="What to write. [default: TASK's name]")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="KIND", help="tflite or onnx. [default: FILE's ending, or else tflite]")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="KIND", help="int8 or fp32.")] = "int8",
    pack: PackName = "default",
    min_agreement: Annotated[
        float, typer.Option(metavar="SHARE", help="Fail when the quantised head agrees less with the float head.")
    ] = 0.95,
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Makes a classifier from class descriptions.

    \b
    t2m-edge compile animals.txt -o animals.tflite
    t2m-edge compile animals.txt -o animals.onnx --precision fp32

    \b
    A descriptions file has one class a line:
      zebra: a horse-like animal with black and white stripes; seen in grassland
      horse: a large animal with hooves and a mane; not: stripes; threshold: 0.6
    """
    from t2m_edge.compiler.compiling import PRECISIONS, TARGETS, compile
    from t2m_runtime.errors import InputError

    chosen = one_of("--target", target, TARGETS) if target else _target_of(output, TARGETS)
    one_of("--precision", precision, PRECISIONS)
    if not 0 <= min_agreement <= 1:
        raise InputError(f"--min-agreement is {min_agreement}; give a share from 0 to 1, such as 0.95")
    report = compile(
        task,
        output,
        pack=pack,
        target=chosen,
        precision=precision,
        min_agreement=min_agreement,
        overwrite=overwrite,
    )
    if json:
        print_json("compile", report.to_dict())
        return
    warn(report.warnings)
    k = len(report.labels)
    say(f"{report.output}: {k} classes, {report.precision} {report.target}, {report.size_bytes:,} bytes")
    say(f"  pack    {report.pack}")
    say(
        f"  head    agrees with the float head on {report.head.top1_agreement:.1%} of {report.head.images:,} "
        f"bank images (cosine {report.head.cosine:.4f})"
    )
    say(
        f"  model   same best class as the float model on {report.model.agreement:.0%} of {report.model.images} probe "
        f"images (scores differ by at most {report.model.max_error:.4f})"
    )
    stages = ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in report.stages.items())
    say(f"  time    {report.seconds * 1000:.0f} ms ({stages})")


def _target_of(output: Path | None, targets: tuple[str, ...]) -> str:
    ending = output.suffix.casefold().lstrip(".") if output else ""
    return ending if ending in targets else "tflite"
