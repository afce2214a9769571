"""What the student learns: the teacher's vector and a predicted CLIP text vector, side by side.

A sentence model knows what words mean, CLIP's text tower knows what they look like. Only the CLIP vectors of 2,148
names are at hand (data/descriptions), so they are predicted for other lines by kernel ridge from the teacher's vectors.
CLIP's text tower has learned from images of nearly everything: say so beside any figure made with it.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import re
import tarfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from t2m_runtime.errors import InputError

TABLES = ("lvis", "oid", "o365", "coco")
KERNEL_SHARPNESS = 4.0
RIDGE = 1.0
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "mice": "mouse",
    "wolves": "wolf",
    "loaves": "loaf",
    "bus": "bus",
    "buses": "bus",
}
_ENDINGS = re.compile(r"(?:ches|shes|sses|xes|toes|goes|ies|(?<=[^su])s)$")
HOW_TO_GET = "pass the data folder that holds descriptions/clip_text_names.json (--data)"


@dataclass(frozen=True)
class ClipRow:
    """One row of a CLIP table: every name it goes by, its WordNet definition if it has one, its unit vector (512,)."""

    names: tuple[str, ...]
    definition: str | None
    vector: np.ndarray


def read_clip_rows(data: str | Path) -> list[ClipRow]:
    """The 2,148 rows of the four CLIP tables.

    Raises:
        InputError: a table is missing or does not fit its names.
    """
    folder = Path(data) / "descriptions"
    try:
        names = json.loads((folder / "clip_text_names.json").read_text("utf-8"))
        lvis = json.loads((folder / "lvis_definitions.json").read_text("utf-8"))
        tables = {t: np.load(folder / f"{t}_clip_text.npy", allow_pickle=False).astype(np.float32) for t in TABLES}
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read; {HOW_TO_GET}") from None
    rows = []
    for table, vectors in tables.items():
        if len(names[table]) != len(vectors):
            raise InputError(f"{folder}: {table} has {len(names[table])} names and {len(vectors)} vectors")
        for i, (name, vector) in enumerate(zip(names[table], vectors)):
            spoken = [name, *lvis[i]["synonyms"]] if table == "lvis" else name.split("/")
            rows.append(
                ClipRow(
                    names=tuple(dict.fromkeys(plain_name(n) for n in spoken)),
                    definition=lvis[i]["def"] if table == "lvis" else None,
                    vector=vector / np.linalg.norm(vector),
                )
            )
    return rows


def plain_name(name: str) -> str:
    """ "Ferris_wheel" -> "ferris wheel", "chicken_(animal)" -> "chicken"."""
    return re.sub(r"\s+", " ", re.sub(r"\([^)]*\)", " ", re.sub(r"[_\-]", " ", name))).strip().lower()


def held_out_names(data: str | Path) -> frozenset[str]:
    """Every class name of CIFAR-100, Tiny-ImageNet (synonyms too) and Grocery (fine and coarse), as `plain_name`s."""
    folder = Path(data)
    try:
        cifar = json.loads((folder / "descriptions/cifar100_cupl.json").read_text("utf-8"))
        tiny = json.loads((folder / "descriptions/tiny_imagenet_gloss.json").read_text("utf-8"))
        with tarfile.open(folder / "grocery.tar") as archive:
            member = next(m for m in archive if m.name.endswith("classes.csv"))
            table = io.TextIOWrapper(archive.extractfile(member), "utf-8")
            grocery = [row[column] for row in list(csv.reader(table))[1:] for column in (0, 2)]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read; {HOW_TO_GET}") from None
    names = [*cifar, *(name for entry in tiny.values() for name in entry["names"]), *grocery]
    return frozenset(plain_name(name) for name in names)


def names_clash(name: str, held_out: Collection[str]) -> bool:
    """Whether a name is or contains, as whole words in singular form, a held-out name: "can openers" holds "can"."""
    words = _singular_words(name)
    return any(_contains(words, _singular_words(other)) for other in held_out)


def without_held_out(rows: Sequence[ClipRow], held_out: Collection[str]) -> list[ClipRow]:
    """The rows none of whose names clashes with a held-out name."""
    return [row for row in rows if not any(names_clash(name, held_out) for name in row.names)]


@functools.lru_cache(maxsize=10_000)
def _singular_words(name: str) -> tuple[str, ...]:
    words = re.findall(r"\w+", name.lower())
    return tuple(_IRREGULAR.get(word) or _ENDINGS.sub(_singular_ending, word) for word in words)


def _singular_ending(match: re.Match) -> str:
    ending = match.group()
    return "y" if ending == "ies" else "" if ending == "s" else ending[:-2]


def _contains(words: tuple[str, ...], part: tuple[str, ...]) -> bool:
    return any(words[i : i + len(part)] == part for i in range(len(words) - len(part) + 1))


class ClipPredictor:
    """Kernel ridge from teacher vectors (unit, d) to CLIP text vectors, centred on the mean of the rows.

    f(x) = sum_i a_i exp(s (x . x_i - 1)),  a = (K + r I)^-1 (Y - mean Y), one pair a text of `pairs`; see PAPERS on
    kernel ridge. Predictions are scaled to unit length.

    Args:
        rows: the CLIP rows to learn from.
        encode: the teacher.
    """

    def __init__(self, rows: Sequence[ClipRow], encode: Callable[[Sequence[str]], np.ndarray]):
        texts, owners = clip_texts(rows)
        vectors = np.stack([row.vector for row in rows])
        self.mean = vectors.mean(axis=0)
        self._inputs = encode(texts).astype(np.float32)
        kernel = np.exp(KERNEL_SHARPNESS * (self._inputs @ self._inputs.T - 1)).astype(np.float64)
        kernel[np.diag_indices_from(kernel)] += RIDGE
        self._weights = np.linalg.solve(kernel, (vectors - self.mean)[owners]).astype(np.float32)

    def predict(self, teacher_vectors: np.ndarray) -> np.ndarray:
        """float32 (n, 512), unit rows."""
        kernel = np.exp(KERNEL_SHARPNESS * (teacher_vectors.astype(np.float32) @ self._inputs.T - 1))
        predicted = kernel @ self._weights
        return predicted / np.maximum(np.linalg.norm(predicted, axis=1, keepdims=True), 1e-9)


def clip_texts(rows: Sequence[ClipRow]) -> tuple[list[str], list[int]]:
    """(texts, row number of each): "a photo of a NAME" and NAME for every name, "NAME: definition" if there is one."""
    texts, owners = [], []
    for number, row in enumerate(rows):
        forms = [form for name in row.names for form in (f"a photo of a {name}", name)]
        if row.definition:
            forms.append(f"{row.names[0]}: {row.definition}")
        texts += forms
        owners += [number] * len(forms)
    return texts, owners


class JointTargets:
    """Teacher vector and predicted CLIP vector side by side, projected to `d_text` directions, unit rows.

    The projection holds the strongest directions (uncentred, so that dot products stay) of a sample of lines.

    Args:
        predictor: gives the CLIP side.
        sample: teacher vectors (n, d) to find the directions on.
        d_text: width of the targets.
        clip_share: share of the squared length that the CLIP side has, 0 to 1.
    """

    def __init__(self, predictor: ClipPredictor, sample: np.ndarray, d_text: int, clip_share: float = 0.5):
        self._predictor = predictor
        self._scales = float(np.sqrt(1 - clip_share)), float(np.sqrt(clip_share))
        joint = self._joint(sample)
        second_moment = joint.T.astype(np.float64) @ joint / len(joint)
        values, vectors = np.linalg.eigh(second_moment)
        self.kept_energy = float(values[-d_text:].sum() / values.sum())
        self._projection = vectors[:, ::-1][:, :d_text].astype(np.float32)

    def __call__(self, teacher_vectors: np.ndarray, batch: int = 8192) -> np.ndarray:
        """teacher vectors (n, d) -> float32 (n, d_text), unit rows."""
        parts = [
            self._joint(teacher_vectors[i : i + batch]) @ self._projection
            for i in range(0, len(teacher_vectors), batch)
        ]
        targets = np.concatenate(parts)
        return targets / np.linalg.norm(targets, axis=1, keepdims=True)

    def _joint(self, teacher_vectors: np.ndarray) -> np.ndarray:
        teacher = teacher_vectors.astype(np.float32)
        return np.hstack([teacher * self._scales[0], self._predictor.predict(teacher) * self._scales[1]])
