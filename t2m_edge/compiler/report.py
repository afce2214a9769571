"""What a compile tells: size, parity, the time of each stage, warnings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from t2m_exporters.parity import Parity

SCHEMA = 1


@dataclass(frozen=True)
class ModelParity:
    """The artifact itself, run by its engine on probe images, against the float backbone with the float head.

    Scores are compared; agreement is the share of probes whose best class is the same.
    """

    images: int
    max_error: float
    mean_error: float
    agreement: float


@dataclass(frozen=True)
class CompileReport:
    """The outcome of a compile.

    head: the written head against the float head, on the features of the pack's bank (logits).
    stages: seconds by stage, in the order in which they ran.
    """

    output: str
    size_bytes: int
    labels: tuple[str, ...]
    target: str
    precision: str
    pack: str
    head: Parity
    model: ModelParity
    stages: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Sum of the stages."""
        return sum(self.stages.values())

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types, with schema_version."""
        return {"schema_version": SCHEMA, **asdict(self), "labels": list(self.labels), "warnings": list(self.warnings)}
