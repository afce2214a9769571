"""Counts of right, confused and rejected photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClassCount:
    """One class: its photos, how many got its name, how many were rejected (whatever their best class)."""

    name: str
    images: int
    right: int
    rejected: int


class Confusion:
    """Counts answers. A rejected photo counts by its best class for accuracy, and as rejected beside that."""

    def __init__(self, labels: Sequence[str]):
        self.labels = tuple(labels)
        self.matrix = [[0] * len(self.labels) for _ in self.labels]
        """matrix[true][called], photos."""
        self._rejected = [0] * len(self.labels)
        self._right_accepted = 0

    def add(self, true: int, called: int, rejected: bool) -> None:
        """One photo: indices of its class and of the answer."""
        self.matrix[true][called] += 1
        self._rejected[true] += rejected
        self._right_accepted += true == called and not rejected

    @property
    def images(self) -> int:
        return sum(map(sum, self.matrix))

    @property
    def rejected(self) -> int:
        return sum(self._rejected)

    @property
    def accuracy(self) -> float:
        """Share of photos whose best class is theirs."""
        return sum(row[index] for index, row in enumerate(self.matrix)) / self.images

    @property
    def class_accuracy(self) -> float:
        """Mean over the classes that have photos."""
        shares = [row.right / row.images for row in self.classes() if row.images]
        return sum(shares) / len(shares)

    @property
    def accuracy_accepted(self) -> float | None:
        """Share of right answers among the photos that were not rejected; None when all were."""
        accepted = self.images - self.rejected
        return self._right_accepted / accepted if accepted else None

    def classes(self) -> list[ClassCount]:
        """Counts of each class, in the order of the labels."""
        return [
            ClassCount(label, sum(row), row[index], self._rejected[index])
            for index, (label, row) in enumerate(zip(self.labels, self.matrix))
        ]

    def confusions(self) -> list[tuple[str, str, int]]:
        """(true class, called, photos) of every wrong pair that occurs, most frequent first."""
        pairs = [
            (self.labels[true], self.labels[called], count)
            for true, row in enumerate(self.matrix)
            for called, count in enumerate(row)
            if count and true != called
        ]
        return sorted(pairs, key=lambda pair: -pair[2])

    def to_dict(self) -> dict[str, Any]:
        """Everything, as plain JSON types."""
        return {
            "photos": self.images,
            "accuracy": self.accuracy,
            "class_accuracy": self.class_accuracy,
            "rejected": self.rejected / self.images,
            "accuracy_accepted": self.accuracy_accepted,
            "classes": [
                {
                    "name": row.name,
                    "photos": row.images,
                    "right": row.right,
                    "accuracy": row.right / row.images if row.images else None,
                    "rejected": row.rejected,
                }
                for row in self.classes()
            ],
            "labels": list(self.labels),
            "confusion": self.matrix,
        }
