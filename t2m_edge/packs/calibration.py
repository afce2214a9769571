"""What a pack knows about its own scores: a temperature, and how right its classifiers were on tasks like a user's.

``python -m t2m_edge.evaluation.calibration`` fits both on classes that neither backbone nor hypernetwork had seen.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_CLASSES = 20
"""Of the tasks that accuracy models are fitted on; for more classes they are carried on."""


@dataclass(frozen=True)
class AccuracyModel:
    """Expected accuracy of a task, fitted on tasks whose accuracy was measured.

    log(p / (1 - p)) = constant + ways * log(k - 1) + likeness * (mean cosine between the head's rows)

    low, high: the 10 % and 90 % quantiles of what the measured tasks lay beside that.
    """

    constant: float
    ways: float
    likeness: float
    low: float
    high: float

    def expected(self, classes: int, likeness: float) -> tuple[float, float, float]:
        """(accuracy, low, high): what to expect of a task, and between what four of five such tasks lie."""
        at = self.constant + self.ways * math.log(classes - 1) + self.likeness * likeness
        return tuple(1 / (1 + math.exp(-at - beside)) for beside in (0.0, self.low, self.high))


@dataclass(frozen=True)
class Calibration:
    """temperature: what logits are divided by; accuracy: None where it was not measured; source: how both were made."""

    temperature: float = 1.0
    accuracy: AccuracyModel | None = None
    source: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Calibration:
        """Of a pack's facts.

        Raises:
            ValueError, KeyError, TypeError: they are off.
        """
        temperature = float(body["temperature"])
        if not 0 < temperature < 1000:
            raise ValueError(f"a temperature of {temperature}")
        model = None
        if body.get("accuracy") is not None:
            model = AccuracyModel(**{key: float(value) for key, value in body["accuracy"].items()})
            if not all(math.isfinite(value) for value in asdict(model).values()):
                raise ValueError("an accuracy model that is not finite")
        return cls(temperature, model, dict(body.get("source", {})))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON types; ``from_dict`` reads it."""
        return asdict(self)
