"""t2m-edge train text|backbone|head: the parts of a pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2m_edge.cli.choices import one_of
from t2m_edge.cli.extras import need_extra
from t2m_edge.cli.options import Debug, Json, Overwrite, new_app
from t2m_edge.cli.output import print_json, say

app = new_app('Trains the parts of a pack. Needs the extra: pip install "t2m-edge[train]".')

Shared = Annotated[
    Path, typer.Option(metavar="DIR", envvar="T2M_SHARED", help="The folder that holds data/ (archives, splits.json).")
]
Cache = Annotated[Path, typer.Option(metavar="DIR", help="Where decoded images are kept.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="cpu or cuda.")]
Threads = Annotated[int, typer.Option(metavar="N", help="CPU threads; the same number gives the same bytes.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of everything that is drawn.")]


@app.command()
def backbone(
    shared: Shared,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where checkpoints and weights go.")],
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Classes to leave out: 0 to 4, strict_unseen, every, or none.")
    ] = "none",
    stages: Annotated[
        str, typer.Option(metavar="SIDE:STEPS,...", help="Image side and steps of each stage.")
    ] = "48:8000,64:4000,96:800",
    start: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights to start from.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = 2,
    cache: Cache = Path("runs/cache"),
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Trains the image backbone; goes on where an interrupted run stopped.

    \b
    t2m-edge train backbone --shared ../shared -o runs/backbone
    t2m-edge train backbone --shared ../shared --split 0 -o runs/strict0 --device cuda
    """
    need_extra("train", "train backbone")
    from t2m_edge.training.backbone import BackboneRecipe, train_backbone
    from t2m_edge.training.splits import SPLITS

    one_of("--split", split, (*SPLITS, "every", "none"))
    check_shared(shared)
    set_up_torch(device, threads)
    refuse_existing(output / "backbone.safetensors", overwrite)
    recipe = BackboneRecipe(split, seed=seed, stages=_stages(stages), start=str(start) if start else None)
    written = train_backbone(recipe, shared, cache, output, device)
    if json:
        print_json("train backbone", {"output": str(written)})
    else:
        say(f"{written}: next, t2m-edge pack build")


def check_shared(shared: Path) -> None:
    """Checks that the data folder is there.

    Raises:
        InputError: it is not.
    """
    from t2m_runtime.errors import InputError

    if not (shared / "data" / "splits.json").is_file():
        raise InputError(f"--shared {shared}: no data/splits.json in it; give the folder that holds data/")


def set_up_torch(device: str, threads: int) -> None:
    """Checks the device and sets the number of threads.

    Raises:
        InputError: no such device here, or no sensible number of threads.
    """
    import torch

    from t2m_runtime.errors import InputError

    one_of("--device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device is cuda, and torch finds no CUDA device here; write --device cpu")
    if not 1 <= threads <= 1024:
        raise InputError(f"--threads is {threads}; give 1 or more")
    torch.set_num_threads(threads)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raises InputError when the file exists and may not be replaced."""
    from t2m_runtime.errors import InputError

    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; give another name with -o, or --overwrite")


def _stages(text: str) -> tuple[tuple[int, int], ...]:
    from t2m_runtime.errors import InputError

    try:
        stages = tuple((int(side), int(steps)) for side, steps in (part.split(":") for part in text.split(",")))
        if not all(8 <= side <= 512 and steps > 0 for side, steps in stages):
            raise ValueError
    except ValueError:
        raise InputError(f"--stages is {text!r}; write SIDE:STEPS pairs, such as 48:8000,64:4000,96:800") from None
    return stages
