"""Summaries of measured times, and the test that says whether one model is slower than another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

RESAMPLES = 10_000
ERROR_RATE = 0.01


@dataclass(frozen=True)
class Summary:
    """Of single runs, in the result's unit."""

    count: int
    mean: float
    deviation: float
    minimum: float
    p50: float
    p90: float
    p95: float
    p99: float

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def summarise(seconds: Sequence[float], scale: float = 1e3) -> Summary:
    """Of at least one time in seconds, by default in milliseconds; scale: 1 for what is no time."""
    times = np.asarray(seconds, float) * scale
    p50, p90, p95, p99 = np.percentile(times, (50, 90, 95, 99))
    deviation = float(times.std(ddof=1)) if len(times) > 1 else 0.0
    return Summary(
        len(times), float(times.mean()), deviation, float(times.min()), float(p50), float(p90), float(p95), float(p99)
    )


@dataclass(frozen=True)
class Ratio:
    """Time of one model over that of another, taken block by block: the median ratio and the bounds of its range."""

    ratio: float
    low: float
    high: float
    blocks: int

    def slower_than(self, share: float) -> bool:
        """Whether the ratio is surely above 1 + share: even the lower bound is."""
        return self.low > 1 + share


def paired_ratio(ours: Sequence[float], theirs: Sequence[float], seed: int = 0) -> Ratio:
    """Compare blocks that ran in turn, so that what slows the machine slows both.

    A bootstrap over the blocks gives the bounds, each crossed by chance in ERROR_RATE of the cases.

    Args:
        ours, theirs: median seconds of each block; block i of both ran one after the other. At least 8 blocks.
    """
    if len(ours) != len(theirs) or len(ours) < 8:
        raise ValueError(f"{len(ours)} and {len(theirs)} blocks; a comparison needs 8 or more of both, in turn")
    ratios = np.log(np.asarray(ours, float) / np.asarray(theirs, float))
    rng = np.random.default_rng(seed)
    medians = np.median(ratios[rng.integers(0, len(ratios), (RESAMPLES, len(ratios)))], axis=1)
    low, high = np.quantile(medians, (ERROR_RATE, 1 - ERROR_RATE))
    return Ratio(*(float(np.exp(v)) for v in (np.median(ratios), low, high)), len(ratios))
