"""What a multi-label model says of photos that lie in one folder for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PresenceCount:
    """One class: its photos, in how many of them it is present; the photos of the other classes, in how many of those.

    A photo of another class may well show this one too, as cats and dogs both show fur.
    """

    name: str
    images: int
    present: int
    others: int
    present_in_others: int


class Presence:
    """Counts answers. Of each photo one class is known, its folder's; nobody says that the others are absent."""

    def __init__(self, labels: Sequence[str]):
        self.labels = tuple(labels)
        self.matrix = [[0] * len(self.labels) for _ in self.labels]
        """matrix[true][present], photos; a photo counts once for each class that is present."""
        self._images = [0] * len(self.labels)

    def add(self, true: int, present: Sequence[int]) -> None:
        """One photo: indices of its class and of those that are present."""
        self._images[true] += 1
        for index in present:
            self.matrix[true][index] += 1

    @property
    def images(self) -> int:
        return sum(self._images)

    @property
    def found(self) -> float:
        """Share of photos in which their own class is present."""
        return sum(row[index] for index, row in enumerate(self.matrix)) / self.images

    @property
    def others(self) -> float:
        """Classes that are present beside the photo's own, mean over the photos."""
        return sum(map(sum, self.matrix)) / self.images - self.found

    def classes(self) -> list[PresenceCount]:
        """Counts of each class, in the order of the labels."""
        everywhere = [sum(column) for column in zip(*self.matrix)]
        return [
            PresenceCount(
                label,
                self._images[index],
                self.matrix[index][index],
                self.images - self._images[index],
                everywhere[index] - self.matrix[index][index],
            )
            for index, label in enumerate(self.labels)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain JSON types."""
        return {
            "photos": self.images,
            "present": self.found,
            "others_present": self.others,
            "classes": [
                {
                    "name": row.name,
                    "photos": row.images,
                    "present": row.present,
                    "other_photos": row.others,
                    "present_in_others": row.present_in_others,
                }
                for row in self.classes()
            ],
            "labels": list(self.labels),
            "presence": self.matrix,
        }
