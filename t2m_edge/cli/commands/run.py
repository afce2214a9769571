"""t2m-edge run: classify photos."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from t2m_edge.cli.options import Debug, Engine, Json, Model, Threads, new_app
from t2m_edge.cli.output import print_json, printable, say_table, with_progress

app = new_app()


@app.command()
def run(
    model: Model,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Photos, folders or tars of photos, or patterns as 'in/*.jpg'."),
    ],
    top: Annotated[
        int | None,
        typer.Option(metavar="N", help="Classes to list. [default: 3 for one photo, 1 for several, and all present]"),
    ] = None,
    engine: Engine = None,
    threads: Threads = 1,
    json: Json = False,
    debug: Debug = False,
) -> int:
    """Classifies photos of any size and format that Pillow reads.

    \b
    t2m-edge run model.tflite photo.jpg
    t2m-edge run model.tflite holiday/ 'more/*.png' --top 2
    """
    from contextlib import ExitStack

    from t2m_edge.cli.photos import find_photos
    from t2m_runtime.classifier import Classifier
    from t2m_runtime.errors import InputError

    if top is not None and top < 1:
        raise InputError(f"--top is {top}; give 1 or more")
    answers, errors = [], []
    with Classifier.load(model, engine=engine, num_threads=threads) as classifier, ExitStack() as tars:
        photos = find_photos(images, tars)
        best = 3 if len(photos) == 1 else 1
        for photo in with_progress(photos, "photo"):
            try:
                result = classifier.classify(photo.read(), top_k=top)
                answers.append((photo.name, result if top else result.best(best)))
            except InputError as error:
                said = f"{photo.name}: {error}" if photo.tar else str(error)
                errors.append((photo.name, " ".join(printable(said).split())))
    if json:
        listed = [
            {
                "photo": photo,
                "rejected": result.rejected,
                "present": list(result.present),
                "classes": [{"name": name, "score": score} for name, score in zip(result.names, result.scores)],
            }
            for photo, result in answers
        ]
        broken = [{"photo": photo, "error": error} for photo, error in errors]
        print_json("run", {"model": str(model), "photos": listed, "errors": broken})
    elif answers:
        rows = []
        for photo, result in answers:
            for place, (name, score) in enumerate(zip(result.names, result.scores)):
                rejected = "present" if name in result.present else ""
                rejected = "rejected" if result.rejected and place == 0 else rejected
                rows.append(["" if place else photo, name, f"{score:.3f}", rejected])
        say_table(["photo", "class", "score", ""], rows, right=(2,))
    for _, error in errors:
        print(f"error: {error}", file=sys.stderr)
    return 2 if errors else 0
