"""Where the files of a pack lie: a folder or a ``.t2mpack`` zip, read by name and never unpacked to disk."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from t2m_runtime import InputError

INDEX = "pack.json"
MAX_FILES = 64
MAX_FILE_BYTES = 256 * 2**20
MAX_INDEX_BYTES = 2**20
READ_ERRORS = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged zip or a missing file raises."""


class PackStore:
    """The files that ``pack.json`` lists, each checked against its size and sha256 when it is read."""

    def __init__(self, path: Path) -> None:
        """Open the pack at ``path`` and read its index.

        Raises:
            InputError: no pack there, or a broken one.
        """
        self.path = path
        self._zip: zipfile.ZipFile | None = None
        if not path.exists():
            raise InputError(f"no pack at {path}; give 'default' or the path of a pack folder or .t2mpack file")
        if not path.is_dir():
            try:
                self._zip = zipfile.ZipFile(path)
            except READ_ERRORS as error:
                if _begins_like_a_zip(path):
                    raise InputError(f"{path} is damaged or cut off ({error}); get the pack again") from None
                raise InputError(f"{path} is not a pack; give a pack folder or a .t2mpack file") from None
        raw = self._raw(INDEX, MAX_INDEX_BYTES)
        self.sha256 = hashlib.sha256(raw).hexdigest()
        try:
            index = json.loads(raw)
        except (ValueError, RecursionError):
            raise InputError(f"{path}: {INDEX} is not JSON; get the pack again") from None
        if not isinstance(index, dict) or not isinstance(index.get("files"), dict):
            raise InputError(f"{path}: {INDEX} lists no files; get the pack again")
        self.index: dict[str, Any] = index
        if len(index["files"]) > MAX_FILES:
            raise InputError(f"{path}: {INDEX} lists {len(index['files'])} files, more than {MAX_FILES}")

    def read(self, name: str) -> bytes:
        """The bytes of a file of the pack.

        Raises:
            InputError: the file is missing, not listed, or not the one that was listed.
        """
        entry = self.index["files"].get(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int):
            raise InputError(f"{self.path}: the pack has no {name}; use a pack that holds it")
        if not 0 <= entry["bytes"] <= MAX_FILE_BYTES:
            raise InputError(f"{self.path}: {name} claims {entry['bytes']} bytes; at most {MAX_FILE_BYTES} are read")
        data = self._raw(name, entry["bytes"])
        if len(data) != entry["bytes"] or hashlib.sha256(data).hexdigest() != entry.get("sha256"):
            raise InputError(
                f"{self.path}: {name} is not the file that {INDEX} lists (hash differs); get the pack again"
            )
        return data

    def has(self, name: str) -> bool:
        return name in self.index["files"]

    def _raw(self, name: str, most: int) -> bytes:
        pieces = PurePosixPath(name)
        if pieces.is_absolute() or ".." in pieces.parts or "\\" in name:
            raise InputError(f"{self.path}: {name!r} leaves the pack; get the pack again")
        try:
            if self._zip is None:
                with (self.path / name).open("rb") as file:
                    return file.read(most + 1)
            with self._zip.open(name) as file:
                return file.read(most + 1)
        except READ_ERRORS as error:
            what = "the file is missing" if isinstance(error, (KeyError, FileNotFoundError)) else str(error)
            raise InputError(f"{self.path}: cannot read {name} ({what}); get the pack again") from None


def _begins_like_a_zip(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\3\4"
    except OSError:
        return False
