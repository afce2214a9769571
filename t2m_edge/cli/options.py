"""Options that several commands share, with one wording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A .tflite or .onnx file that t2m-edge compile wrote.")]
Artifact = Annotated[Path, typer.Argument(metavar="MODEL", help="A .tflite, .onnx or .t2mh file that compile wrote.")]
HeadFile = Annotated[Path, typer.Argument(metavar="HEAD", help="A .t2mh file: t2m-edge compile --target head.")]
EditOutput = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="What to write. [default: MODEL, with --overwrite]"),
]
Inside = Annotated[
    str | None, typer.Option(metavar="PATH", help="The folder in FOLDER that holds the class folders, as test.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Leave out folders that are no class of the model.")
]
Engine = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="litert, tflite_runtime, onnxruntime or core; by default what is installed."),
]
Threads = Annotated[int, typer.Option(metavar="N", help="Threads of the engine.")]
PackName = Annotated[str, typer.Option(metavar="PACK", help="default, or the path of a pack.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]


def new_app(help_text: str | None = None) -> typer.Typer:
    """A Typer application with this project's settings: plain help, plain tracebacks, no shell-completion options."""
    return typer.Typer(
        help=help_text,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        no_args_is_help=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 110},
    )
