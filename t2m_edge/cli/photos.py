"""Which photos a user means: files, folders, tars and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t2m_runtime.errors import InputError

if TYPE_CHECKING:
    from t2m_edge.cli.photo_tar import PhotoTar

PHOTO_ENDINGS = frozenset(
    [".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".ppm", ".pgm"]
    + [".pbm", ".pnm", ".tga", ".ico", ".jp2", ".avif", ".heic", ".heif"]
)
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_photo_name(name: str) -> bool:
    """True for names with an image file's ending that are not hidden (as `._x.jpg` of macOS archives)."""
    base = name.rsplit("/", 1)[-1]
    return not base.startswith(".") and os.path.splitext(base)[1].casefold() in PHOTO_ENDINGS


@dataclass(frozen=True)
class Photo:
    """One photo: what to call it, and its path, or the tar that it lies in under the name ``member``."""

    name: str
    tar: PhotoTar | None = None
    member: str = ""

    def read(self) -> bytes | str:
        """Its bytes (tar) or path, for `Classifier.classify`; InputError as `PhotoTar.read`."""
        return self.name if self.tar is None else self.tar.read(self.member)


def find_photos(arguments: Sequence[str], tars: ExitStack) -> list[Photo]:
    """The photos that the arguments name, in the order of the arguments, each once.

    Args:
        arguments: files (any ending), folders (all photos in and below them, by name), tars (the same, in the tar's
            order) or patterns with * ? [ ].
        tars: closes the tars.

    Raises:
        InputError: a folder, tar or pattern without photos, or a broken tar.
    """
    found: dict[str, Photo] = {}
    for path in (path for argument in arguments for path in _expand(argument)):
        if not (path.casefold().endswith(TAR_ENDINGS) and os.path.isfile(path)):
            found.setdefault(path, Photo(path))
            continue
        from t2m_edge.cli.photo_tar import PhotoTar

        tar = PhotoTar(Path(path))
        tars.callback(tar.close)
        if not tar.names:
            raise InputError(f"{path}: no photos in this tar; give one with .jpg, .png or other images")
        for member in tar.names:
            name = f"{path}/{member}"
            found.setdefault(name, Photo(name, tar, member))
    return list(found.values())


def _expand(argument: str) -> Iterator[str]:
    if "\0" in argument:
        raise InputError("a photo's path has a NUL character; give the path of a file")
    if os.path.isdir(argument):
        found = sorted(photos_below(Path(argument)))
        if not found:
            raise InputError(f"{argument}: no photos in this folder; give a folder with .jpg, .png or other images")
        yield from found
    elif not os.path.exists(argument) and glob.has_magic(argument):
        found = sorted(path for path in glob.glob(argument, recursive=True) if os.path.isfile(path))
        if not found:
            raise InputError(f"{argument}: no file matches; check the pattern")
        yield from found
    else:
        yield argument


def photos_below(folder: Path) -> Iterator[str]:
    """Paths of the photos in and below a folder; a link to a folder is followed unless it leads back to one above."""
    above = {str(folder): {os.path.realpath(folder)}}
    for root, folders, files in os.walk(folder, followlinks=True):
        here, kept = above.pop(root), []
        for name in sorted(folders):
            path = os.path.join(root, name)
            real = os.path.realpath(path)
            if not name.startswith(".") and real not in here:
                above[path] = here | {real}
                kept.append(name)
        folders[:] = kept
        for name in sorted(files):
            if is_photo_name(name):
                yield os.path.join(root, name)
