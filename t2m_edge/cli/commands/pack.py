"""t2m-edge pack build|list|info|export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2m_edge.cli.extras import need_extra
from t2m_edge.cli.options import Debug, Json, Overwrite, new_app
from t2m_edge.cli.output import print_json, say, say_table

app = new_app("Builds, lists, describes and exports packs.")
Pack = Annotated[str, typer.Argument(metavar="PACK", help="default, or the path of a pack (folder or .t2mpack).")]


@app.command("list")
def list_packs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Also look for packs in this folder.")] = Path("."),
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Lists the packs that compile can use: the one that came with the installation, and those in a folder.

    \b
    t2m-edge pack list
    t2m-edge pack list packs/
    """
    from t2m_edge.packs import load_pack
    from t2m_edge.packs.pack import default_path
    from t2m_edge.packs.store import INDEX
    from t2m_runtime.errors import InputError

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one that holds packs")
    found = [("default", default_path())] if (default_path() / INDEX).is_file() else []
    beside = [path for path in sorted(folder.iterdir()) if path.suffix == ".t2mpack" or (path / INDEX).is_file()]
    packs, broken = [], []
    for name, path in [*found, *((str(path), path) for path in beside)]:
        try:
            info = load_pack(path).info
        except InputError as error:
            broken.append({"pack": name, "error": str(error)})
            continue
        packs.append({"pack": name, "name": info.name, "version": info.version, "licence": info.licence})
    if json:
        print_json("pack list", {"packs": packs, "broken": broken})
        return
    rows = [[row["pack"], row["name"], row["version"], row["licence"]] for row in packs]
    rows += [[row["pack"], "broken", "", row["error"]] for row in broken]
    say_table(["--pack", "name", "version", "licence"], rows)
    if not rows:
        say("none; build one with t2m-edge pack build")


@app.command()
def info(pack: Pack = "default", json: Json = False, debug: Debug = False) -> None:
    """Describes a pack and checks every file of it against its hash.

    \b
    t2m-edge pack info
    t2m-edge pack info mine.t2mpack --json
    """
    from dataclasses import asdict

    from t2m_edge.packs import load_pack

    loaded = load_pack(pack)
    loaded.verify()
    facts, files = loaded.info, loaded.files
    size = sum(entry["bytes"] for entry in files.values())
    if json:
        print_json(
            "pack info", {"pack": str(loaded.path), "sha256": loaded.ref.sha256, **asdict(facts), "files": files}
        )
        return
    say(f"{pack}: {facts.name} {facts.version}, {size:,} bytes in {len(files)} files, all hashes right")
    say(f"  sha256     {loaded.ref.sha256}")
    say(f"  licence    {facts.licence}")
    say(f"  input      {facts.input.height} x {facts.input.width}, crop {facts.input.crop}")
    say(f"  features   {facts.features}")
    say(f"  classes    at most {facts.max_classes:,}")
    for name, value in facts.accuracy.items():
        say(f"  accuracy   {name}: {_figures(value)}")
    say()
    say_table(["file", "bytes"], [[name, f"{entry['bytes']:,}"] for name, entry in files.items()], right=(1,))


def _figures(value: object) -> str:
    """A record's value: shares as percent, a table of them as "name 48.7%, name 37.4%"."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_figures(item)}" for name, item in value.items())
    if isinstance(value, float):
        return f"{value:.1%}" if 0 <= value <= 1 else f"{value:g}"
    return str(value)


@app.command()
def export(
    pack: Pack,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The .t2mpack file to write.")],
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Writes a pack folder as one .t2mpack file, after checking every hash.

    \b
    t2m-edge pack export default -o default.t2mpack
    """
    from t2m_edge.compiler.saving import check_regular
    from t2m_edge.packs import load_pack
    from t2m_edge.packs.writing import zip_pack
    from t2m_runtime.errors import InputError

    if output.suffix != ".t2mpack":
        raise InputError(f"{output}: a pack file ends in .t2mpack; write {output.with_suffix('.t2mpack')}")
    check_regular(output)
    loaded = load_pack(pack)
    if not loaded.path.is_dir():
        raise InputError(f"{pack} is a pack file already; copy it")
    loaded.verify()
    zip_pack(loaded.path, output, overwrite)
    size = output.stat().st_size
    if json:
        print_json("pack export", {"output": str(output), "size_bytes": size})
    else:
        say(f"{output}: {size:,} bytes")


@app.command()
def build(
    backbone: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="backbone.safetensors of train backbone; a .tflite or .onnx; timm:NAME; open_clip:MODEL/PRETRAINED.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="The pack folder, or .t2mpack file.")],
    text: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The text encoder that train text wrote. [default: open_clip's own]"),
    ] = None,
    shared: Annotated[
        Path | None,
        typer.Option(metavar="DIR", envvar="T2M_SHARED", help="The folder that holds data/; needed with --text."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Images to calibrate int8 with. [default: data's, or synthesised ones]"),
    ] = None,
    templates: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Prompts for open_clip: one a line, {} for the class.")
    ] = None,
    mean: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="R G B", help="Of an .onnx, in steps of 0 to 255. [default: ImageNet's]"),
    ] = (123.675, 116.28, 103.53),
    std: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="R G B", help="Of an .onnx, in steps of 0 to 255. [default: ImageNet's]"),
    ] = (58.395, 57.12, 57.375),
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Classes that the backbone left out: 0 to 4, strict_unseen, every, tuning, none."
        ),
    ] = "none",
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the pack.")] = "default",
    version: Annotated[str, typer.Option(metavar="VERSION", help="Version of the pack.")] = "0.1.0",
    threads: Annotated[int, typer.Option(metavar="N", help="CPU threads.")] = 2,
    cache: Annotated[Path, typer.Option(metavar="DIR", help="Where decoded images are kept.")] = Path("runs/cache"),
    overwrite: Overwrite = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Builds a pack: quantises the backbone, trains the hypernetwork on its features, adds bank and probes.

    \b
    t2m-edge pack build --backbone runs/backbone/backbone.safetensors --text runs/text --shared ../shared -o packs/mine
    t2m-edge pack build --backbone mobilenet_embedding.tflite --text runs/text --shared ../shared -o packs/mobilenet
    t2m-edge pack build --backbone timm:mobilenetv3_small_100 --text runs/text --shared ../shared -o packs/v3
    t2m-edge pack build --backbone open_clip:MobileCLIP2-S0/dfndr2b -o packs/mobileclip

    A .tflite or .onnx embedding model is used as it is: its int8 graph stays bit for bit what it was. An open_clip
    model classifies by its own text tower: no training, no images.
    """
    need_extra("train", "pack build")
    import tempfile
    from dataclasses import replace

    from t2m_edge.backbones.adopted import adopt
    from t2m_edge.backbones.torch_models import is_torch_model
    from t2m_edge.cli.choices import one_of
    from t2m_edge.cli.commands.train import check_shared
    from t2m_edge.packs.adopting import build_adopted_pack, calibration_images
    from t2m_edge.packs.from_torch import build_torch_pack, photos
    from t2m_edge.packs.writing import zip_pack
    from t2m_edge.training.device import set_up_torch
    from t2m_edge.training.packing import PackRecipe, build_pack
    from t2m_edge.training.splits import SPLITS
    from t2m_runtime.errors import InputError

    one_of("--split", split, (*SPLITS, "every", "tuning", "none"))
    set_up_torch("cpu", threads)
    file = Path(backbone)
    by_name = not file.exists() and is_torch_model(backbone)
    own = not by_name and file.suffix not in (".tflite", ".onnx")
    needed = [] if by_name else [(file, "--backbone")]
    if own:
        needed.append((file.with_suffix(".json"), "--backbone"))
    if text is not None:
        needed.append((text, "--text"))
    for path, what in needed:
        if not path.exists():
            raise InputError(f"{what}: {path} does not exist; make it with t2m-edge train {what[2:]}")
    if text is not None or not by_name:
        if text is None or shared is None:
            raise InputError(f"a hypernetwork is trained for {backbone}; give --text DIR and --shared DIR")
        check_shared(shared)
    if templates is not None and (not by_name or text is not None):
        raise InputError("--templates is for an open_clip model's own text tower; leave it out here")
    if calibration is not None and (own or file.suffix == ".tflite"):
        raise InputError(f"--calibration is not used for {backbone}; leave it out")
    refuse_folder(output, overwrite)
    recipe = PackRecipe(name=name, version=version)

    def make(folder: Path) -> None:
        if by_name:
            build_torch_pack(
                backbone, text, split, shared if text else None, cache, calibration, templates, folder, recipe, threads
            )
        elif own:
            build_pack(file, text, split, shared, cache, folder, recipe)
        else:
            images = None
            if file.suffix == ".onnx":
                images = photos(calibration) if calibration else calibration_images(split, shared, cache)
            adopted = replace(adopt(file, images, mean, std), threads=threads)
            build_adopted_pack(adopted, text, split, shared, cache, folder, recipe)

    if output.suffix == ".t2mpack":
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as aside:
            folder = Path(aside) / "pack"
            make(folder)
            zip_pack(folder, output, overwrite)
    else:
        make(output)
    if json:
        print_json("pack build", {"output": str(output)})
    else:
        say(f"{output}: built; try t2m-edge pack info {output}")


def refuse_folder(output: Path, overwrite: bool) -> None:
    """Raises InputError when a pack may not be written there: something exists, or a folder that holds no pack."""
    from t2m_edge.compiler.saving import check_regular
    from t2m_edge.packs.store import INDEX
    from t2m_runtime.errors import InputError

    if output.suffix == ".t2mpack":
        check_regular(output)
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists; give another name with -o, or --overwrite")
    if output.is_dir() and any(output.iterdir()) and not (output / INDEX).is_file():
        raise InputError(f"{output} is a folder that holds no pack; it is not replaced, give another name with -o")
