"""t2m-edge compile: the main job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2m_edge.cli.choices import one_of
from t2m_edge.cli.options import Debug, Json, Overwrite, PackName, new_app
from t2m_edge.cli.output import count_classes, print_json, say, warn

if TYPE_CHECKING:
    from t2m_edge.compiler.report import CompileReport

app = new_app()


@app.command()
def compile_task(
    task: Annotated[
        Path,
        typer.Argument(
            metavar="TASK", help="A descriptions file: .txt, .csv, .json or .yaml; - reads the .txt form from stdin."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="What to write. [default: TASK's name, in the current folder]"
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="KIND", help="tflite, onnx or head. [default: FILE's ending, or else tflite]")
    ] = None,
    precision: Annotated[str, typer.Option(metavar="KIND", help="int8, fp32, fp16 or int8-dynamic.")] = "int8",
    output_type: Annotated[
        str, typer.Option(metavar="TYPE", help="Of the scores: float32, uint8 or int8.")
    ] = "float32",
    scores: Annotated[str, typer.Option(metavar="KIND", help="softmax (they sum to 1) or logits.")] = "softmax",
    pack: PackName = "default",
    min_agreement: Annotated[
        float, typer.Option(metavar="SHARE", help="Fail when the quantised head agrees less with the float head.")
    ] = 0.95,
    reject: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="Add 'none of these': of images outside the task, RATE still get a name."),
    ] = None,
    full_parity: Annotated[bool, typer.Option("--full-parity", help="Run the model on all probe images.")] = False,
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Each class by itself: any number may be present in a photo.")
    ] = False,
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
    from t2m_edge.compiler.cells import OUTPUT_TYPES, PRECISIONS, SCORES, TARGETS
    from t2m_edge.compiler.compiling import compile
    from t2m_runtime.errors import InputError

    if target is not None:
        one_of("--target", target, TARGETS)
    one_of("--precision", precision, PRECISIONS)
    one_of("--output-type", output_type, OUTPUT_TYPES)
    one_of("--scores", scores, SCORES)
    if not 0 <= min_agreement <= 1:
        raise InputError(f"--min-agreement is {min_agreement}; give a share from 0 to 1, such as 0.95")
    report = compile(
        task,
        output,
        pack=pack,
        target=target,
        precision=precision,
        output_type=output_type,
        scores=scores,
        reject=reject,
        multi_label=multi_label,
        full_parity=full_parity,
        min_agreement=min_agreement,
        overwrite=overwrite,
    )
    if json:
        print_json("compile", report.to_dict())
        return
    warn(report.warnings)
    classes = count_classes(len(report.labels), report.rejection is not None)
    say(f"{report.output}: {classes}, {report.precision} {report.target}, {report.size_bytes:,} bytes")
    say(f"  pack    {report.pack}")
    answers = "the answers on " if multi_label else ""
    say(
        f"  head    agrees with the float head on {report.head.top1_agreement:.1%} of {answers}"
        f"{report.head.images:,} bank images (cosine {report.head.cosine:.4f})"
    )
    if report.model is not None:
        found = report.model
        same = f"{round(found.agreement * found.images)} of {found.images}"
        if multi_label:
            same = f"{found.agreement:.0%} of {answers}{found.images}"
        say(
            f"  model   {'agrees with' if multi_label else 'same best class as'} the float model on {same} probe "
            f"images (outputs differ by at most {found.max_error:.4f}, {found.mean_error:.4f} in the mean; "
            f"cosine {found.cosine:.4f})"
        )
    if full_parity and report.backbone.get("layers"):
        worst = min(report.backbone["layers"], key=lambda layer: layer["cosine"])
        say(
            f"  pack    features of this graph: cosine {report.backbone['cosine']:.4f} to the float ones; least like "
            f"its float form is {worst['name']} (cosine {worst['cosine']:.4f})"
        )
    if report.rejection is not None:
        set_on = f"{report.rejection.images:,} images of {report.rejection.classes} other classes"
        say(
            f"  reject  'none of these' under a logit of {report.rejection.logit:.2f}, set on {set_on}: "
            f"{report.rejection.rate:.0%} of them still get a name"
        )
    if not multi_label:
        for line in _trust(report):
            say(line)
    for tensor, why in report.not_int8.items():
        say(f"  type    {tensor}: {why}")
    stages = ", ".join(f"{name} {seconds * 1000:.0f}" for name, seconds in report.stages.items())
    say(f"  time    {report.seconds * 1000:.0f} ms ({stages})")


def _trust(report: CompileReport) -> Iterator[str]:
    """How good the classifier is, and which classes it may mix up."""
    from t2m_edge.packs.calibration import MOST_CLASSES

    k, measured, expected = len(report.labels), report.measured, report.expected
    if measured is not None:
        away = f" ({measured.rejected:.0%} turned away as 'none of these')" if measured.rejected is not None else ""
        yield (
            f"  known   {measured.accuracy:.0%} right{away} on {measured.images} photos, not trained on, of "
            f"{measured.classes} of {k} classes, if you mean what the pack knows as {_named(measured.names)}"
        )
    if measured is None or measured.classes < k:
        if expected is not None:
            fitted = f"; measured on tasks of at most {MOST_CLASSES} classes" if k > MOST_CLASSES else ""
            away = "; before 'none of these', which may turn most such photos away" if report.rejection else ""
            yield (
                f"  expect  {expected.accuracy:.0%} right on classes new to the pack ({expected.low:.0%} to "
                f"{expected.high:.0%} in four of five such tasks{fitted}){away}"
            )
        elif len(report.little_known) * 2 > k:
            yield "  expect  not known: the text encoder does not know the words of most classes"
        elif report.negatives_alone:
            new = k - (measured.classes if measured else 0)
            others = "new to the pack while others are " if new > len(report.negatives_alone) else ""
            yield (
                f"  expect  not known for classes {others}given by not: alone; say what a photo of "
                f"{_named(report.negatives_alone)} shows"
            )
    hints: dict[str, list[str]] = {}
    for pair in report.riskiest:
        bare = [name for name in (pair.first, pair.second) if name in report.negatives_alone]
        hint = (
            f"say what a photo of {_named(bare)} shows"
            if bare
            else "write what a photo shows of the one and not of the other"
        )
        hints.setdefault(hint, []).append(f"{pair.first!r} and {pair.second!r} ({pair.likeness:.2f})")
    for hint, pairs in hints.items():
        yield f"  alike   {', '.join(pairs)}: {hint}"


def _named(names: Sequence[str], most: int = 4) -> str:
    """'a', 'b' and 'c'; of many names the first, and how many more there are."""
    shown = [repr(name) for name in names[:most]]
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
