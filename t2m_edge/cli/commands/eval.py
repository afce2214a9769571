"""t2m-edge eval: accuracy on labelled photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from t2m_edge.cli.options import AllowMissing, Debug, Engine, Inside, Json, Model, Threads, new_app
from t2m_edge.cli.output import print_json, quoted_names, say, say_table, warn

if TYPE_CHECKING:
    from t2m_edge.cli.confusion import Confusion
    from t2m_edge.cli.presence import Presence

app = new_app()
SHOWN_CONFUSIONS = 10


@app.command()
def evaluate(
    model: Model,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder, or a tar of it, with one folder of photos a class.")
    ],
    inside: Inside = None,
    allow_missing: AllowMissing = False,
    min_accuracy: Annotated[
        float, typer.Option(metavar="SHARE", help="Exit with 1 when the accuracy is under this.")
    ] = 0.0,
    engine: Engine = None,
    threads: Threads = 1,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Measures accuracy on photos that lie in one folder for each class.

    \b
    t2m-edge eval model.tflite photos/
    t2m-edge eval model.tflite grocery.tar --inside test --allow-missing

    Folder names are the class names; case does not matter, and _ or - may stand for a space. Of a multi-label model it
    says how often a class is present in the photos of its folder, and in the others.
    """
    from t2m_edge.cli.confusion import Confusion
    from t2m_edge.cli.image_folder import ImageFolder, answers, classes_of
    from t2m_edge.cli.presence import Presence
    from t2m_runtime.classifier import Classifier
    from t2m_runtime.errors import InputError

    if not 0 <= min_accuracy <= 1:
        raise InputError(f"--min-accuracy is {min_accuracy}; give a share from 0 to 1, such as 0.5")
    with (
        Classifier.load(model, engine=engine, num_threads=threads) as classifier,
        ImageFolder(folder, inside) as photos,
    ):
        index_of = classes_of(photos, folder, classifier.labels, allow_missing)
        unknown = [name for name in photos.folders if name not in index_of]
        multi_label = classifier.manifest.output.scores == "sigmoid"
        if multi_label and min_accuracy:
            raise InputError(f"{model} is multi-label, so it has no accuracy; leave --min-accuracy out")
        counted = Presence(classifier.labels) if multi_label else Confusion(classifier.labels)
        broken = []
        place = {label: index for index, label in enumerate(classifier.labels)}
        for true, result in answers(classifier, photos, index_of, broken):
            if multi_label:
                counted.add(true, [place[name] for name in result.present])
            else:
                counted.add(true, place[result.names[0]], result.rejected)
    warn(broken)
    if counted.images == 0:
        raise InputError(f"{folder}: none of the photos can be read; give images")
    if json:
        facts = {"model": str(model), "folder": str(folder), **counted.to_dict()}
        print_json("eval", {**facts, "left_out_folders": unknown, "unreadable": broken})
    else:
        (_print_presence if multi_label else _print_confusion)(counted, unknown, broken)
    if not multi_label and counted.accuracy < min_accuracy:
        from t2m_runtime.errors import WorkError

        raise WorkError(f"accuracy {counted.accuracy:.1%} is under --min-accuracy {min_accuracy:.1%}")
    return 2 if broken else 0


def _print_presence(counted: Presence, unknown: list[str], broken: list[str]) -> None:
    say(
        f"the class of the folder is present in {counted.found:.1%} of {counted.images:,} photos, with "
        f"{counted.others:.1f} other classes a photo"
    )
    _print_left_out(unknown, broken)
    say()
    rows = [
        [row.name, str(row.images), _share(row.present, row.images), _share(row.present_in_others, row.others)]
        for row in counted.classes()
    ]
    say_table(["class", "photos", "present", "in other photos"], rows, right=(1, 2, 3))
    say("a photo of another folder may well show the class, too")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _print_left_out(unknown: list[str], broken: list[str]) -> None:
    for names, text in ((unknown, "folders left out"), (broken, "unreadable photos")):
        if names:
            say(f"{len(names)} {text}")


def _print_confusion(counted: Confusion, unknown: list[str], broken: list[str]) -> None:
    say(
        f"accuracy {counted.accuracy:.1%} on {counted.images:,} photos ({counted.class_accuracy:.1%} mean over classes)"
    )
    if counted.rejected:
        right = counted.accuracy_accepted
        said = "none was accepted" if right is None else f"{right:.1%} of the accepted are right"
        say(f"rejected {counted.rejected / counted.images:.1%}; {said}")
    _print_left_out(unknown, broken)
    say()
    rows = [
        [row.name, str(row.images), f"{row.right / row.images:.1%}", f"{row.rejected / row.images:.1%}"]
        for row in counted.classes()
        if row.images
    ]
    say_table(["class", "photos", "right", "rejected"], rows, right=(1, 2, 3))
    empty = [row.name for row in counted.classes() if not row.images]
    if empty:
        say(f"no photos: {quoted_names(empty)}")
    pairs = counted.confusions()
    if pairs:
        say()
        shown = pairs[:SHOWN_CONFUSIONS]
        say_table(["is", "was called", "photos"], [[a, b, str(n)] for a, b, n in shown], right=(2,))
        if len(pairs) > len(shown):
            say(f"... and {len(pairs) - len(shown)} more pairs (--json has the whole matrix)")
