"""What a compile tells: size, parity, the time of each stage, warnings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from t2m_edge.compiler.trust import ExpectedAccuracy, MeasuredAccuracy, RiskyPair
from t2m_exporters.parity import Parity

if TYPE_CHECKING:
    from t2m_edge.compiler.rejecting import Rejection

SCHEMA = 1


@dataclass(frozen=True)
class ModelParity:
    """The artifact itself, run by its engine on probe images, against the float backbone with the float head.

    Its outputs are compared: absolute errors, mean cosine of the centred outputs, and the share of probes whose best
    class is the same; of a multi-label model, of scores that say the same.
    """

    images: int
    max_error: float
    mean_error: float
    cosine: float
    agreement: float


@dataclass(frozen=True)
class CompileReport:
    """The outcome of a compile.

    head: the written head against the float head, on the features of the pack's bank (logits).
    model: the artifact against the float model; None for a head file.
    backbone: what pack build measured of this graph: parity of the features, and of each layer under "layers".
    not_int8: of an int8 artifact: tensors that are not int8 -> why.
    expected: the accuracy to expect of classes new to the pack, by what it did on others; None where nothing is known.
    measured: the accuracy on images of those classes of the task that the pack was trained on; None where it has none.
    riskiest: the pairs of classes most likely to be taken for each other; none where none are alike, or of
        a multi-label model.
    little_known: the classes of which the text encoder knows under half of the words; where they are most, nothing is
        expected.
    negatives_alone: the classes that are given by negative texts alone.
    rejection: how "none of these" was set; None without it.
    stages: seconds by stage, in the order in which they ran.
    """

    output: str
    size_bytes: int
    labels: tuple[str, ...]
    target: str
    precision: str
    pack: str
    head: Parity
    model: ModelParity | None
    backbone: dict[str, Any]
    not_int8: dict[str, str]
    expected: ExpectedAccuracy | None
    measured: MeasuredAccuracy | None
    riskiest: tuple[RiskyPair, ...]
    little_known: tuple[str, ...]
    negatives_alone: tuple[str, ...]
    rejection: Rejection | None
    stages: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Sum of the stages."""
        return sum(self.stages.values())

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types, with schema_version."""
        return {"schema_version": SCHEMA, **asdict(self), "labels": list(self.labels), "warnings": list(self.warnings)}
