"""t2m-edge rename: another name for a class of a compiled model."""

from __future__ import annotations

from typing import Annotated

import typer

from t2m_edge.cli.edits import say_edit
from t2m_edge.cli.options import Artifact, Debug, EditOutput, Json, Overwrite, new_app

app = new_app()


@app.command()
def rename(
    model: Artifact,
    old: Annotated[str, typer.Argument(metavar="CLASS", help="The name that the class has.")],
    new: Annotated[str, typer.Argument(metavar="NAME", help="The name that it gets.")],
    output: EditOutput = None,
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Gives a class of a full model or a head file another name; what it looks for stays the same.

    \b
    t2m-edge rename grocery.tflite kiwi Kiwifrukt -o grocery-sv.tflite
    """
    from t2m_edge.compiler.editing import rename

    say_edit("rename", rename(model, old, new, output or model, overwrite=overwrite), json)
