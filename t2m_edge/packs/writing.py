"""Write a pack: its files, then the index with their hashes; and zip one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

from t2m_edge.packs.store import INDEX, PackStore
from t2m_runtime import InputError


def write_pack(folder: Path, facts: dict[str, Any], files: dict[str, bytes], overwrite: bool = False) -> None:
    """Write ``files`` and ``pack.json`` (``facts`` and the list of files) to a new folder, whole or not at all.

    Raises:
        InputError: the folder exists and ``overwrite`` is not given.
    """
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists; give another folder or --overwrite")
    aside = folder.with_name(folder.name + ".part")
    shutil.rmtree(aside, ignore_errors=True)
    listed = {}
    try:
        for name, data in sorted(files.items()):
            path = aside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            listed[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (aside / INDEX).write_text(json.dumps({**facts, "files": listed}, indent=1) + "\n", "utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def zip_pack(folder: Path, output: Path, overwrite: bool = False) -> None:
    """Zip a pack folder to a ``.t2mpack`` file, or to the one that a link leads to; the same pack gives the same bytes.

    Raises:
        InputError: the file exists and ``overwrite`` is not given.
    """
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists; give another name or --overwrite")
    index = json.loads((folder / INDEX).read_text("utf-8"))
    place = Path(os.path.realpath(output))
    aside = place.with_name(place.name + ".part")
    try:
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as file:
            for name in [INDEX, *sorted(index["files"])]:
                file.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes(), zipfile.ZIP_DEFLATED)
        os.replace(aside, place)
    finally:
        aside.unlink(missing_ok=True)


def rewrite_facts(folder: Path, facts: dict[str, Any]) -> None:
    """Put facts into the ``pack.json`` of a pack folder; its files stay as they are.

    Raises:
        InputError: no pack folder there.
    """
    index = PackStore(folder).index
    if not folder.is_dir():
        raise InputError(f"{folder} is a zipped pack; give the folder that it was made from")
    aside = folder / f"{INDEX}.part"
    files = index.pop("files")
    aside.write_text(json.dumps({**index, **facts, "files": files}, indent=1) + "\n", "utf-8")
    os.replace(aside, folder / INDEX)
