"""Labelled photos: a folder, or a tar of it, with one folder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from t2m_edge.cli.output import quoted_names, with_progress
from t2m_edge.cli.photo_tar import PhotoTar
from t2m_edge.cli.photos import photos_below
from t2m_edge.task.description import plain_name
from t2m_runtime.errors import InputError

if TYPE_CHECKING:
    from t2m_runtime.classifier import Classifier, Result


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo.

    Attributes:
        name: its path inside the folder or tar.
        folder: the class folder that it lies in.
    """

    name: str
    folder: str


class ImageFolder:
    """The photos of a folder or tar. Use it in a `with` statement.

    Attributes:
        photos: by class folder, then by name.
    """

    def __init__(self, path: Path, inside: str | None = None):
        """Lists the photos; nothing is unpacked to disk.

        Args:
            path: a folder, or a .tar, .tar.gz, .tar.bz2, .tar.xz file.
            inside: the folder in it that holds the class folders (as `test`); None for the top.

        Raises:
            InputError: nothing there, no tar, no class folders, or class folders on different levels.
        """
        self._path = path
        self._tar: PhotoTar | None = None
        if path.is_dir():
            names = [Path(name).relative_to(path).as_posix() for name in photos_below(path)]
        elif path.is_file():
            self._tar = PhotoTar(path)
            names = self._tar.names
        else:
            raise InputError(f"{path}: no such folder or tar; give one with a folder for each class")
        try:
            self.photos = _by_class(names, str(path), inside)
        except InputError:
            self.__exit__()
            raise

    def __enter__(self) -> ImageFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            self._tar.close()

    @property
    def folders(self) -> list[str]:
        """Names of the class folders, sorted."""
        return sorted({photo.folder for photo in self.photos})

    def without(self, folders: Sequence[str]) -> list[LabelledPhoto]:
        """The photos outside the named class folders, in the order in which they are quickest to read."""
        left = [photo for photo in self.photos if photo.folder not in folders]
        if self._tar is not None:
            left.sort(key=lambda photo: self._tar.offset(photo.name))
        return left

    def read(self, photo: LabelledPhoto) -> bytes | str:
        """The photo's bytes (tar) or path (folder), for `Classifier.classify`.

        Raises:
            InputError: too large, or a broken archive.
        """
        if self._tar is None:
            return os.path.join(self._path, photo.name)
        return self._tar.read(photo.name)


def _by_class(names: Sequence[str], source: str, inside: str | None) -> list[LabelledPhoto]:
    if inside is not None:
        prefix = inside.strip("/") + "/"
        names = [name for name in names if name.removeprefix("./").startswith(prefix)]
        if not names:
            raise InputError(f"{source}: no photos inside {inside!r}; check --inside")
    if not names:
        raise InputError(f"{source}: no photos; give a folder or tar with one folder of photos for each class")
    photos, parents = [], {}
    for name in names:
        parts = PurePosixPath(name).parts
        if len(parts) < 2 or (inside is not None and len(parts) < len(PurePosixPath(inside).parts) + 2):
            raise InputError(f"{source}: the photo {name!r} is in no class folder; put each class in its own folder")
        photos.append(LabelledPhoto(name, parts[-2]))
        parents["/".join(parts[:-2])] = None
    if len(parents) > 1:
        listed = ", ".join(repr(parent or ".") for parent in sorted(parents)[:5])
        raise InputError(f"{source}: class folders lie in several places ({listed}); choose one with --inside")
    return sorted(photos, key=lambda photo: (photo.folder, photo.name))


def match_folders(folders: Sequence[str], labels: Sequence[str]) -> dict[str, int]:
    """Class folder -> index of its label, for the folders that have one.

    A folder matches the label of the same name, or else the one label that differs only in case and in `_`, `-`, `+`
    for spaces (`Granny-Smith` is `granny smith`).

    Raises:
        InputError: two folders match the same label.
    """
    exact = {label: index for index, label in enumerate(labels)}
    loose: dict[str, list[int]] = {}
    for index, label in enumerate(labels):
        loose.setdefault(plain_name(label), []).append(index)
    matched: dict[str, int] = {}
    for folder in folders:
        candidates = loose.get(plain_name(folder), [])
        index = exact.get(folder, candidates[0] if len(candidates) == 1 else None)
        if index is None:
            continue
        other = next((name for name, used in matched.items() if used == index), None)
        if other is not None:
            raise InputError(f"the folders {other!r} and {folder!r} are both the class {labels[index]!r}; merge them")
        matched[folder] = index
    return matched


def classes_of(photos: ImageFolder, path: Path, labels: Sequence[str], allow_missing: bool) -> dict[str, int]:
    """``match_folders`` of labelled photos; folders that are no class must be allowed.

    Raises:
        InputError: no folder is a class, or one is not and that is not allowed.
    """
    index_of = match_folders(photos.folders, labels)
    unknown = [name for name in photos.folders if name not in index_of]
    if unknown and not allow_missing:
        are = f"s {quoted_names(unknown)} are" if len(unknown) > 1 else f" {quoted_names(unknown)} is"
        raise InputError(f"{path}: the folder{are} no class of the model; rename, or leave out with --allow-missing")
    if not index_of:
        raise InputError(f"{path}: no folder is named like a class of the model ({quoted_names(labels)})")
    return index_of


def answers(
    classifier: Classifier, photos: ImageFolder, index_of: dict[str, int], broken: list[str]
) -> Iterator[tuple[int, Result]]:
    """Class and answer of each photo in a class's folder; for one that cannot be read, ``broken`` gets a line."""
    for photo in with_progress(photos.without([name for name in photos.folders if name not in index_of]), "photo"):
        try:
            yield index_of[photo.folder], classifier.classify(photos.read(photo))
        except InputError as error:
            broken.append(f"{photo.name}: {error}")
