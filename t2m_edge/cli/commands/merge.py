"""t2m-edge merge: a head file into a full model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2m_edge.cli.edits import say_edit
from t2m_edge.cli.options import Debug, HeadFile, Json, Model, Overwrite, new_app

app = new_app()


@app.command()
def merge(
    model: Model,
    head: HeadFile,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The full model to write.")],
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Puts a head file into a full model of the same backbone, in place of its own head.

    \b
    t2m-edge compile drinks.txt --target head -o drinks.t2mh
    t2m-edge merge grocery.tflite drinks.t2mh -o drinks.tflite
    """
    from t2m_edge.compiler.editing import merge

    say_edit("merge", merge(model, head, output, overwrite=overwrite), json)
