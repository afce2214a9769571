"""Suites: named sets of measurements. A suite is a YAML file, ours in ``suites/`` or a user's own.

    suite: mine
    about: one line
    seconds: 5                   # steady state of each run; --seconds overrides it
    runs:
      - task: animals.txt        # a descriptions file beside this one; it is compiled in every combination of
        precisions: [int8, fp32]
        targets: [tflite, onnx]
        engines: [litert, onnxruntime, core]     # those that do not run a target are left out, and the core's threads
        threads: [1, 2]
      - models: [other.tflite, data/backbones/*.tflite]    # data/ is the folder of --data

A run may also have ``classes: [2, 10, 100]`` instead of ``task`` (generated tasks of that many classes), ``compile: 5``
(time that many compilations in new processes), ``converter: 3`` (the same for litert-torch and ai-edge-quantizer),
``photos: data/photos`` with ``inside: test`` (accuracy on an image folder or tar), ``profile: true``, ``head: true``
(time the swap of a head for the same task).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from t2m_bench.run import KINDS, settings
from t2m_runtime.errors import InputError

FOLDER = Path(__file__).parent / "suites"
MAX_BYTES = 100_000
MAX_COMPILES, MAX_CLASSES, MAX_JOBS = 100, 10_000, 1000
PRECISIONS = ("int8", "fp32", "fp16", "int8-dynamic")
TARGETS = ("tflite", "onnx")
MAKING = ("precisions", "targets", "compile", "converter", "head")
"""Keys that say how models are made of a task."""


@dataclass(frozen=True)
class Entry:
    """One item of a suite's ``runs``; the module's text says what each is. Exactly one of task, classes, models."""

    task: str | None = None
    classes: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("int8",)
    targets: tuple[str, ...] = ("tflite",)
    engines: tuple[str | None, ...] = (None,)
    threads: tuple[int, ...] = (1,)
    compile: int = 0
    converter: int = 0
    photos: str | None = None
    inside: str | None = None
    profile: bool = False
    head: bool = False


@dataclass(frozen=True)
class Suite:
    """A suite's file, checked. folder: what its paths are relative to."""

    suite: str
    about: str
    seconds: float
    runs: tuple[Entry, ...]
    folder: Path


def names() -> list[str]:
    """The suites that come with t2m-edge."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_suite(name: str) -> Suite:
    """A suite by its name, or by the path of a YAML file.

    Raises:
        InputError: one line: no such suite, no YAML, an unknown key or a value out of range, and what may be there.
    """
    path = FOLDER / f"{name}.yaml" if name in names() else Path(name)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"there is no suite {name!r}; give one of {', '.join(names())}, or a .yaml file of your own")
    try:
        data = path.read_bytes()
        if len(data) > MAX_BYTES:
            raise InputError(f"{path} has {len(data):,} bytes; a suite has at most {MAX_BYTES:,}")
        content = yaml.safe_load(data)
    except OSError as error:
        raise InputError(f"cannot read the suite {path} ({error.strerror}); check the path") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not YAML ({' '.join(str(error).split())[:200]})") from None
    try:
        return _suite(content, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _suite(content: Any, path: Path) -> Suite:
    _keys(content, "the suite", ("suite", "about", "seconds", "runs"))
    runs = content.get("runs")
    if not isinstance(runs, list) or not runs:
        raise InputError("runs is missing; give a list with a task or models in each item")
    seconds = content.get("seconds", 10.0)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0.05 <= seconds <= 3600:
        raise InputError(f"seconds is {seconds!r}; give 0.05 to 3600")
    entries = tuple(_entry(item, f"runs, item {number}") for number, item in enumerate(runs, start=1))
    return Suite(
        str(content.get("suite", path.stem)), str(content.get("about", "")), float(seconds), entries, path.parent
    )


def _entry(item: Any, where: str) -> Entry:
    known = tuple(Entry.__dataclass_fields__)
    _keys(item, where, known)
    if sum(key in item for key in ("task", "classes", "models")) != 1:
        raise InputError(f"{where}: give one of task, classes and models")
    texts = {"precisions": PRECISIONS, "targets": TARGETS, "engines": tuple(KINDS), "models": None}
    limits = {"classes": (2, MAX_CLASSES), "threads": (1, 256)}
    found: dict[str, Any] = {}
    for key, value in item.items():
        if key in texts or key in limits:
            values = value if isinstance(value, list) else [value]
            if not values or len(values) > MAX_JOBS:
                raise InputError(f"{where}: {key} is empty or too long; give a list")
            for v in values:
                _one(v, f"{where}: {key}", texts.get(key), limits.get(key))
            found[key] = tuple(values)
        elif key in ("compile", "converter"):
            _one(value, f"{where}: {key}", None, (0, MAX_COMPILES))
            found[key] = value
        elif key in ("profile", "head"):
            if not isinstance(value, bool):
                raise InputError(f"{where}: {key} is {value!r}; write true or false")
            found[key] = value
        else:
            _one(value, f"{where}: {key}", None, None)
            found[key] = value
    entry = Entry(**found)
    _together(entry, tuple(found), where)
    return entry


def _together(entry: Entry, given: tuple[str, ...], where: str) -> None:
    """Refuses what means nothing beside the entry's other keys."""
    if entry.models and (made := [key for key in MAKING if key in given]):
        raise InputError(f"{where}: {', '.join(made)}: only for a task, which is compiled; leave it out beside models")
    if entry.inside and not entry.photos:
        raise InputError(f"{where}: inside names a folder in photos; give that too")
    if "core" in entry.engines and 1 not in entry.threads:
        raise InputError(f"{where}: the C core runs on one thread; give 1 among threads too, or leave core out")
    if not entry.models and not any(settings(entry.engines, entry.threads, target) for target in entry.targets):
        raise InputError(f"{where}: engines run none of the targets ({', '.join(entry.targets)})")


def _keys(value: Any, where: str, known: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{where} is {_short(value)}; write keys such as {', '.join(known[:3])}")
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:60], known, n=1)
            raise InputError(
                f"{where} has the key {_short(key)}; write {near[0] if near else 'one of ' + ', '.join(known)}"
            )


def _one(value: Any, where: str, allowed: tuple[str, ...] | None, limits: tuple[int, int] | None) -> None:
    if limits is not None:
        if isinstance(value, bool) or not isinstance(value, int) or not limits[0] <= value <= limits[1]:
            raise InputError(f"{where} is {_short(value)}; give whole numbers from {limits[0]} to {limits[1]}")
    elif not isinstance(value, str) or not value or "\0" in value:
        raise InputError(f"{where} is {_short(value)}; write text")
    elif allowed is not None and value not in allowed:
        raise InputError(f"{where} is {_short(value)}; write one of {', '.join(allowed)}")


def _short(value: Any) -> str:
    return repr(value)[:60]
