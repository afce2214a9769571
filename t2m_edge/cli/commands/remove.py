"""t2m-edge remove: classes out of a compiled model."""

from __future__ import annotations

from typing import Annotated

import typer

from t2m_edge.cli.edits import say_edit
from t2m_edge.cli.options import Artifact, Debug, EditOutput, Json, Overwrite, new_app

app = new_app()


@app.command()
def remove(
    model: Artifact,
    classes: Annotated[list[str], typer.Argument(metavar="CLASS...", help="Names of the classes to take out.")],
    output: EditOutput = None,
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Takes classes out of a full model or a head file, without the pack.

    \b
    t2m-edge remove grocery.tflite kiwi lemon -o less.tflite
    t2m-edge remove grocery.tflite kiwi --overwrite
    """
    from t2m_edge.compiler.editing import remove

    say_edit("remove", remove(model, classes, output or model, overwrite=overwrite), json)
