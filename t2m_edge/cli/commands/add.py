"""t2m-edge add: classes of a head file into a compiled model."""

from __future__ import annotations

from typing import Annotated

import typer

from t2m_edge.cli.edits import say_edit
from t2m_edge.cli.options import Artifact, Debug, EditOutput, HeadFile, Json, Overwrite, new_app

app = new_app()


@app.command()
def add(
    model: Artifact,
    head: HeadFile,
    classes: Annotated[list[str] | None, typer.Argument(metavar="[CLASS]...", help="Which; all by default.")] = None,
    output: EditOutput = None,
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Adds classes of a head file to a full model or another head file, without the pack.

    \b
    t2m-edge compile drinks.txt --target head -o drinks.t2mh
    t2m-edge add grocery.tflite drinks.t2mh -o both.tflite
    t2m-edge add grocery.tflite drinks.t2mh "oat milk" -o more.tflite
    """
    from t2m_edge.compiler.editing import add

    say_edit("add", add(model, head, output or model, classes=classes or (), overwrite=overwrite), json)
