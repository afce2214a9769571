"""t2m-edge threshold: the scores under which a photo is none of a compiled model's classes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2m_edge.cli.edits import say_edit
from t2m_edge.cli.options import AllowMissing, Artifact, Debug, EditOutput, Inside, Json, Overwrite, new_app
from t2m_edge.cli.output import print_json, quoted_names, say, say_table, warn

if TYPE_CHECKING:
    from t2m_edge.compiler.thresholds import ClassThreshold

app = new_app()
FEW = 20
"""Photos of a class under which its threshold is a guess."""


@app.command()
def threshold(
    model: Artifact,
    name: Annotated[str | None, typer.Argument(metavar="CLASS", help="The class.")] = None,
    score: Annotated[
        str | None, typer.Argument(metavar="SCORE", help="Its new threshold, from 0 to 1; none takes it away.")
    ] = None,
    photos: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Photos, or a tar of them, one folder a class, to set all by.")
    ] = None,
    keep: Annotated[
        float, typer.Option(metavar="SHARE", help="With --photos: of the photos named rightly, how many still are.")
    ] = 0.9,
    inside: Inside = None,
    allow_missing: AllowMissing = False,
    output: EditOutput = None,
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Sets the scores under which a photo is "none of these", by hand or from photos.

    \b
    t2m-edge threshold grocery.tflite kiwi 0.7 -o strict.tflite
    t2m-edge threshold grocery.tflite --photos photos/ --keep 0.9 -o strict.tflite

    From photos, each class gets the highest threshold that leaves it a share of the photos that it names rightly; of a
    multi-label model, of all photos of its folder.
    """
    from t2m_edge.compiler.editing import set_thresholds
    from t2m_runtime.errors import InputError
    from t2m_runtime.manifest import NONE_LABEL

    if (photos is None) == (name is None) or (score is None) == (photos is None):
        raise InputError("give CLASS and SCORE, or --photos FOLDER")
    if photos is None:
        report = set_thresholds(model, {name: _score(score)}, output or model, overwrite=overwrite)
        say_edit("threshold", report, json)
        return
    if not 0 < keep <= 1:
        raise InputError(f"--keep is {keep:g}; give a share above 0 and up to 1, such as 0.9")
    from t2m_edge.compiler.saving import check_output

    check_output(output or model, overwrite)
    found, broken = _found(model, photos, inside, allow_missing, keep)
    chosen = {row.name: row.threshold for row in found if row.threshold is not None and row.name != NONE_LABEL}
    if not chosen:
        raise InputError(f"{photos}: no photo is named rightly, so there is nothing to set a threshold by")
    report = set_thresholds(model, chosen, output or model, overwrite=overwrite)
    warn(broken)
    if json:
        print_json("threshold", {**asdict(report), "classes": [asdict(row) for row in found], "unreadable": broken})
        return
    say_edit("threshold", report, json)
    _print(found)


def _score(text: str | None) -> float | None:
    from t2m_runtime.errors import InputError

    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise InputError(f"the threshold {text!r} is no number; give one from 0 to 1, such as 0.6, or none") from None


def _found(
    model: Path, folder: Path, inside: str | None, allow_missing: bool, keep: float
) -> tuple[tuple[ClassThreshold, ...], list[str]]:
    """Thresholds from the photos, and a line for each that cannot be read."""
    import numpy as np

    from t2m_edge.cli.image_folder import ImageFolder, answers, classes_of
    from t2m_edge.compiler.thresholds import thresholds_from
    from t2m_runtime.classifier import Classifier
    from t2m_runtime.errors import InputError

    scores, true, broken = [], [], []
    with Classifier.load(model) as classifier, ImageFolder(folder, inside) as photos:
        index_of = classes_of(photos, folder, classifier.labels, allow_missing)
        for index, result in answers(classifier, photos, index_of, broken):
            of = dict(zip(result.names, result.scores))
            scores.append([of[label] for label in classifier.labels])
            true.append(index)
        multi_label = classifier.manifest.output.scores == "sigmoid"
        if not scores:
            raise InputError(f"{folder}: none of the photos can be read; give images")
        return thresholds_from(np.array(scores), np.array(true), classifier.labels, keep, multi_label), broken


def _print(found: tuple[ClassThreshold, ...]) -> None:
    say()
    rows = [
        [
            row.name,
            "as it was" if row.threshold is None else f"{row.threshold:.4g}",
            f"{row.answered} of {row.photos}",
            str(row.kept),
            f"{row.taken} of {row.others}",
        ]
        for row in found
    ]
    say_table(["class", "threshold", "named", "kept", "other photos"], rows, right=(1, 2, 3, 4))
    few = [row.name for row in found if row.answered < FEW]
    if few:
        say(f"under {FEW} photos are named rightly of {quoted_names(few)}: more make thresholds surer")
