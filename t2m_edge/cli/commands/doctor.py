"""t2m-edge doctor: what is installed, what is missing and how to get it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from t2m_edge.cli.options import Debug, Json, new_app
from t2m_edge.cli.output import print_json, say, say_table

app = new_app()

NEEDED = {
    "t2m-edge-runtime": "t2m_runtime",
    "numpy": "numpy",
    "pillow": "PIL",
    "tokenizers": "tokenizers",
    "onnx": "onnx",
    "safetensors": "safetensors",
    "pyyaml": "yaml",
    "typer": "typer",
}
"""Distribution -> module."""
EXTRAS = {
    "train": (("torch", "torch"), "train packs of your own"),
    "convert": (("litert-torch", "litert_torch"), "bring a torch backbone"),
    "clip": (("open_clip_torch", "open_clip"), "use an open_clip text tower"),
    "board": (("ziglang", "ziglang"), "measure on boards and phones"),
}


@app.command()
def doctor(json: Json = False, debug: Debug = False) -> int:
    """Shows what is installed, which engines work, what is missing and the line that gets it.

    \b
    t2m-edge doctor

    Exit code 1 when the main job cannot work.
    """
    import platform

    facts: dict[str, Any] = {
        "t2m_edge": _version("t2m-edge") or "not installed (run from a folder)",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
    packages = {name: _found(name, module) for name, module in NEEDED.items()}
    engines = _engines()
    packs = _packs()
    extras = {name: _found(*needs) for name, (needs, _) in EXTRAS.items()}
    problems = [f"{name} is missing: pip install {name}" for name, found in packages.items() if found is None]
    if not any(engine["works"] for engine in engines):
        problems.append("no engine works: pip install ai-edge-litert")
    problems += [f"pack {pack['name']}: {pack['problem']}" for pack in packs if pack["problem"]]
    if json:
        print_json(
            "doctor",
            {**facts, "packages": packages, "engines": engines, "packs": packs, "extras": extras, "problems": problems},
        )
        return 1 if problems else 0
    for name, value in facts.items():
        say(f"{name.replace('_', '-'):<10} {value}")
    say()
    rows = [
        ["package", name, found or "missing", "" if found else f"pip install {name}"]
        for name, found in packages.items()
    ]
    rows += [["engine", engine["name"], engine["version"] or "missing", engine["get"]] for engine in engines]
    rows += [["pack", pack["name"], pack["version"] or "broken", pack["problem"] or ""] for pack in packs]
    for name, (_, purpose) in EXTRAS.items():
        found = extras[name]
        rows.append(
            ["extra", name, found or "missing", "" if found else f'to {purpose}: pip install "t2m-edge[{name}]"']
        )
    say_table(["", "what", "found", ""], rows)
    say()
    for text in problems:
        say(f"problem: {text}")
    if not problems:
        say("Ready: compile and run work here.")
    return 1 if problems else 0


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _found(distribution: str, module: str) -> str | None:
    """Version of a package, or None; it is looked up and not imported, for torch takes seconds."""
    return (_version(distribution) or "unknown version") if find_spec(module) else None


def _engines() -> list[dict[str, Any]]:
    from t2m_runtime.engines import available_engines

    return [
        {
            "name": name,
            "works": status.version is not None,
            "version": status.version,
            "get": "" if status.version else status.reason,
        }
        for name, status in available_engines().items()
    ]


def _packs() -> list[dict[str, Any]]:
    from t2m_runtime.errors import InputError

    try:
        from t2m_edge.packs import load_pack

        info = load_pack("default").info
    except (InputError, ImportError) as error:
        return [{"name": "default", "version": None, "problem": str(error)}]
    return [{"name": info.name, "version": info.version, "problem": None}]
