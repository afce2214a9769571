"""t2m-edge inspect: what is inside a compiled model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from t2m_edge.cli.options import Artifact, Debug, Json, new_app
from t2m_edge.cli.output import count_classes, print_json, say, say_table

if TYPE_CHECKING:
    from t2m_runtime import Manifest

app = new_app()


@app.command()
def inspect(model: Artifact, json: Json = False, debug: Debug = False) -> None:
    """Shows what is inside a compiled model: classes, input, output, precision, where it came from.

    \b
    t2m-edge inspect model.tflite
    t2m-edge inspect model.tflite --json
    """
    from json import loads

    from t2m_runtime.artifact import read_manifest
    from t2m_runtime.manifest import NEVER_REACHED

    manifest = read_manifest(model)
    size = model.stat().st_size
    arena = _arena(model, manifest)
    if json:
        facts = loads(manifest.to_json())
        print_json("inspect", {"model": str(model), "size_bytes": size, "arena_bytes": arena, "manifest": facts})
        return
    spec, output, test = manifest.input, manifest.output, manifest.self_test
    none = manifest.reject is not None
    say(f"{model}: {manifest.name}, {count_classes(len(manifest.labels) - none, none)}, {size:,} bytes")
    facts = [
        ("kind", f"{manifest.precision} {manifest.target}"),
        ("input", f"one image, uint8 RGB, {spec.height} x {spec.width} (1, {spec.height}, {spec.width}, 3)"),
        ("preparation", f"version {spec.preparation_version}, crop {spec.crop}"),
        ("normalisation", f"inside: (x - {_numbers(spec.mean)}) / {_numbers(spec.std)}"),
        ("output", f"{output.dtype} {output.scores}, one score for each class"),
        ("pack", f"{manifest.pack.name} {manifest.pack.version}, sha256 {manifest.pack.sha256[:16]}..."),
        ("backbone", f"sha256 {manifest.backbone_sha256[:16]}..."),
        ("self-test", f"yes, tolerance {test.tolerance:g}" if test else "none"),
        ("RAM", f"{arena:,} bytes on the C core (frames of up to 1,920 pixels)" if arena else "not for the C core"),
        ("written by", ", ".join(filter(None, [f"t2m-edge {manifest.tool_version}", manifest.made_with]))),
    ]
    for name, value in facts:
        say(f"  {name:<14} {value}")
    say()
    rows = [
        [str(index), label, "" if threshold is None else f"{threshold:g}" if threshold < NEVER_REACHED else "rejects"]
        for index, (label, threshold) in enumerate(zip(manifest.labels, manifest.thresholds))
    ]
    say_table(["#", "class", "threshold"], rows, right=(0, 2))


def _arena(model: Path, manifest: Manifest) -> int | None:
    """Bytes of RAM on the C core; None for what it does not run."""
    if manifest.target != "tflite" or manifest.precision not in ("int8", "fp32"):
        return None
    from t2m_runtime.arena import arena_size

    return arena_size(model.read_bytes())


def _numbers(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else "(" + ", ".join(f"{value:g}" for value in values) + ")"
