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
def text(
    shared: Shared,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the encoder's files go.")],
    teacher: Annotated[
        Path, typer.Option(metavar="DIR", help="The folder of all-MiniLM-L6-v2 (without it, the pip line is printed).")
    ] = Path("teacher"),
    wordnet: Annotated[Path, typer.Option(metavar="DIR", help="WordNet's data files (Debian: wordnet-base).")] = Path(
        "/usr/share/wordnet"
    ),
    kind: Annotated[
        str, typer.Option(metavar="KIND", help="release, or strict: without the data sets' class names.")
    ] = "release",
    lines: Annotated[int, typer.Option(metavar="N", help="Lines of WordNet to learn from.")] = 262_144,
    composed: Annotated[
        int, typer.Option(metavar="N", help="Lines put together from it: new names, passages.")
    ] = 65_536,
    width: Annotated[int, typer.Option(metavar="N", help="Width of a token's row.")] = 128,
    steps: Annotated[int, typer.Option(metavar="N", help="Training steps.")] = 10_000,
    work: Annotated[Path, typer.Option(metavar="DIR", help="Teacher vectors and checkpoints, to go on with.")] = Path(
        "runs/text-work"
    ),
    seed: Seed = 0,
    threads: Threads = 2,
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Trains the text encoder; goes on where an interrupted run stopped.

    \b
    t2m-edge train text --shared ../shared --teacher teacher -o runs/text
    t2m-edge train text --shared ../shared --teacher teacher --kind strict -o runs/text-strict
    """
    need_extra("train", "train text")
    from t2m_edge.training.device import set_up_torch
    from t2m_edge.training.text_student import Schedule
    from t2m_edge.training.text_train import KINDS, train_text

    one_of("--kind", kind, KINDS)
    check_shared(shared)
    set_up_torch("cpu", threads)
    info = train_text(
        output,
        teacher=teacher,
        wordnet=wordnet,
        data=shared / "data",
        work=work,
        kind=kind,
        lines=lines,
        composed=composed,
        width=width,
        schedule=Schedule(steps=steps),
        seed=seed,
        threads=threads,
        overwrite=overwrite,
    )
    if json:
        print_json("train text", {"output": str(output), "encoder": info})
    else:
        say(f"{output}: {info['id']}; next, t2m-edge pack build --text {output}")


@app.command()
def head(
    pack: Annotated[str, typer.Argument(metavar="PACK", help="The pack to start from: default, or a path.")],
    shared: Shared,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The new pack folder.")],
    steps: Annotated[int | None, typer.Option(metavar="N", help="Training steps.")] = None,
    hidden: Annotated[
        int, typer.Option(metavar="N", help="Width of the head's hidden layer; 0 for a linear head.")
    ] = 0,
    mixing: Annotated[bool, typer.Option("--mixing", help="Let the classes of a task see each other.")] = False,
    text: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Another text encoder for the pack (default: its own).")
    ] = None,
    seed: Seed = 0,
    threads: Threads = 2,
    cache: Cache = Path("runs/cache"),
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Trains another hypernetwork for a pack: its backbone stays. (pack build trains the first one.)

    \b
    t2m-edge train head packs/mine --shared ../shared -o packs/hidden --hidden 64
    t2m-edge train head packs/mine --shared ../shared -o packs/other --text runs/text
    """
    need_extra("train", "train head")
    from dataclasses import replace

    from t2m_edge.cli.commands.pack import refuse_folder
    from t2m_edge.packs.pack import DEFAULT, default_path
    from t2m_edge.training.device import set_up_torch
    from t2m_edge.training.head import HeadRecipe
    from t2m_edge.training.retraining import retrain_head
    from t2m_runtime.errors import InputError

    check_shared(shared)
    set_up_torch("cpu", threads)
    refuse_folder(output, overwrite)
    if hidden < 0 or (steps is not None and steps < 1):
        raise InputError("--hidden and --steps are counts; give 0 or more, and 1 or more")
    # A closed-form start gives the rows of a linear head.
    recipe = HeadRecipe(seed=seed, hidden=hidden, mixing=mixing, skip=not hidden)
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    retrain_head(default_path() if pack == DEFAULT else Path(pack), shared, cache, output, recipe, text)
    if json:
        print_json("train head", {"output": str(output)})
    else:
        say(f"{output}: built; try t2m-edge pack info {output}")


@app.command()
def backbone(
    shared: Shared,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where checkpoints and weights go.")],
    split: Annotated[
        str, typer.Option(metavar="NAME", help="Classes to leave out: 0 to 4, strict_unseen, every, tuning, none.")
    ] = "none",
    stages: Annotated[
        str, typer.Option(metavar="SIDE:STEPS,...", help="Image side and steps of each stage.")
    ] = "48:8000,64:4000,96:800",
    start: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights to start from.")] = None,
    text: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A text encoder, to learn from the classes' texts as well.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(metavar="X", help="Its peak, after the warm-up.")] = 0.1,
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
    t2m-edge train backbone --shared ../shared --text runs/text -o runs/backbone
    t2m-edge train backbone --shared ../shared --split 0 -o runs/strict0 --device cuda
    """
    need_extra("train", "train backbone")
    from t2m_edge.training.backbone import BackboneRecipe, train_backbone
    from t2m_edge.training.device import set_up_torch
    from t2m_edge.training.splits import SPLITS
    from t2m_runtime.errors import InputError

    one_of("--split", split, (*SPLITS, "every", "tuning", "none"))
    if not 0 < learning_rate < 10:
        raise InputError(f"--learning-rate is {learning_rate}; give a number above 0, such as 0.1")
    check_shared(shared)
    set_up_torch(device, threads)
    refuse_existing(output / "backbone.safetensors", overwrite)
    recipe = BackboneRecipe(
        split,
        seed=seed,
        stages=_stages(stages),
        start=str(start) if start else None,
        text=str(text) if text else None,
        learning_rate=learning_rate,
    )
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
