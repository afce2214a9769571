"""t2m-edge inject: new classes in an existing classifier."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from t2m_edge.cli.options import Debug, Json, Overwrite, PackName, new_app
from t2m_edge.cli.output import print_json, say, warn

app = new_app()


@app.command()
def inject(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A trained classifier: .tflite, .onnx or .safetensors.")
    ],
    task: Annotated[Path, typer.Argument(metavar="TASK", help="The new classes: a descriptions file, one a line.")],
    class_names: Annotated[
        Path | None,
        typer.Option(
            "--class-names",
            metavar="FILE",
            help="Names of the model's rows, one a line in their order; or a .csv, .json or .yaml descriptions file. "
            "[default: those in MODEL]",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="What to write. [default: MODEL's name with -injected, in the current folder]",
        ),
    ] = None,
    pack: PackName = "default",
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Adds classes to a classifier that was trained elsewhere, from its own weights and the names alone.

    \b
    t2m-edge inject mobilenet.tflite more.txt --class-names labels.txt -o mobilenet-more.tflite
    t2m-edge inject head.safetensors more.txt --class-names labels.txt

    \b
    The last layer must be fully connected, or a 1x1 convolution on a 1x1 map. Its old rows stay bit for bit. New rows
    get a bias at which the old classes lose about 1 point of accuracy in the mean, which is no guarantee: about half
    of the draws lost more. New classes are found seldom: 2 % of 25 at once in MobileNetV2. docs/inject.md says more.
    """
    from t2m_edge.compiler.injecting import inject

    path = output or Path(f"{model.stem}-injected{model.suffix}")
    report = inject(model, task, path, class_names=class_names, pack=pack, overwrite=overwrite)
    if json:
        print_json("inject", asdict(report))
        return
    warn(report.warnings)
    added = report.rows_after - report.rows_before
    say(f"{report.output}: {report.rows_before:,} + {added:,} classes, {report.kind}, {report.size_bytes:,} bytes")
    say(f"  layer     {report.layer}, weights {report.precision}")
    say(
        f"  learnt    from names, text encoder of the pack {report.pack}; of old classes left out one by one, "
        f"{report.right:.0%} lie nearer to their own row than to {report.rivals} others (cosine {report.cosine:.2f})"
    )
    bias = "no bias" if report.offset is None else f"bias {report.offset:+.2f} to theirs"
    if report.taken is not None:
        how = f"they take {report.taken:.0%} of {report.photos} photos of other things"
    elif report.offset is None:
        how = "not tried, as the model could not be run on photos"
    else:
        how = "by a rule of thumb, as the model could not be run on photos"
    say(f"  new rows  as long as the old ones, {bias}: {how}")
    stored = f"rounded to cosine {report.rounding:.4f}"
    say(f"  stored    {stored}" + (f", {report.clipped:,} weights clipped" if report.clipped else ""))
    moved = ""
    if report.logit_error is not None:
        moved = ", same logits" if report.logit_error == 0 else f", logits moved by at most {report.logit_error:.2g}"
    say(f"  old rows  bit-identical{moved}")
    for new, other, cosine in report.confusions:
        say(f"  mind      {new} looks like {other} (cosine {cosine:.2f})")
    if report.labels_file:
        say(f"  labels    {report.labels_file}")
    if report.layer != "head":
        say("  try it    on the engine that ran it before, not with t2m-edge run: docs/inject.md, Trying it")
    say(f"  time      {report.seconds:.1f} s")
