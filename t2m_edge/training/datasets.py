"""The image sets of ``shared/data`` as arrays: decoded once from their archives, then kept in a cache folder."""

from __future__ import annotations

import io
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ARCHIVES = {
    "cifar100": ("cifar100.tar.gz", 32, {"train": "train", "test": "test"}),
    "tiny_imagenet": ("tiny_imagenet.tar.gz", 64, {"train": "train", "test": "val"}),
    "grocery": ("grocery.tar", 128, {"train": "train", "test": "test"}),
}


@dataclass(frozen=True)
class ImageSet:
    """Square RGB images of one data set and part, at the set's own size.

    images: uint8 (n, side, side, 3); labels: int64 (n,), indices into classes (sorted folder names).
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    def only(self, names: tuple[str, ...]) -> ImageSet:
        """The images of these classes alone, labels renumbered to the order of ``names``."""
        number = {c: i for i, c in enumerate(names)}
        new = np.array([number.get(c, -1) for c in self.classes])[self.labels]
        keep = new >= 0
        return ImageSet(self.name, self.images[keep], new[keep], names)


def load_images(shared: Path, cache: Path, name: str, part: str) -> ImageSet:
    """Read data set ``name`` ("cifar100", "tiny_imagenet", "grocery"), part "train" or "test".

    Images are cropped to their centre square and, where they are larger than the set's nominal side, resized to it.
    """
    with np.load(_stored(shared, cache, name, part)) as table:
        return ImageSet(name, table["images"], table["labels"], tuple(table["classes"].tolist()))


def load_labels(shared: Path, cache: Path, name: str, part: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels int64 (n,) and classes of ``load_images``, without the images."""
    with np.load(_stored(shared, cache, name, part)) as table:
        return table["labels"], tuple(table["classes"].tolist())


def _stored(shared: Path, cache: Path, name: str, part: str) -> Path:
    archive, side, parts = ARCHIVES[name]
    stored = cache / f"{name}-{part}.npz"
    if not stored.exists():
        cache.mkdir(parents=True, exist_ok=True)
        print(f"decoding {archive} ({part})", file=sys.stderr)
        _decode(shared / "data" / archive, parts[part], side, stored)
    return stored


def _decode(archive: Path, folder: str, side: int, stored: Path) -> None:
    names: list[tuple[str, str]] = []
    images: list[np.ndarray] = []
    with tarfile.open(archive) as tar:
        for member in tar:
            pieces = member.name.split("/")
            if member.isfile() and pieces[0] == folder and len(pieces) == 3:
                data = tar.extractfile(member)
                assert data is not None
                images.append(square(Image.open(io.BytesIO(data.read())), side))
                names.append((pieces[1], pieces[2]))
    order = sorted(range(len(names)), key=names.__getitem__)
    classes = sorted({c for c, _ in names})
    number = {c: i for i, c in enumerate(classes)}
    aside = stored.with_suffix(".part.npz")
    np.savez(
        aside,
        images=np.stack([images[i] for i in order]),
        labels=np.array([number[names[i][0]] for i in order], np.int64),
        classes=np.array(classes),
    )
    aside.replace(stored)


def square(image: Image.Image, side: int) -> np.ndarray:
    """Centre square of an image at side x side, uint8 (side, side, 3)."""
    image = image.convert("RGB")
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    image = image.crop((left, top, left + short, top + short))
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)
