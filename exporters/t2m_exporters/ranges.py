"""Activation ranges: which real interval the 256 steps of an int8 tensor should cover."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 2048
SHARES = np.linspace(0.3, 1.0, 48)
METHODS = ("minmax", "percentile", "mse", "norm")
POWERS = {"mse": 2.0, "norm": 2.5}


@dataclass(frozen=True)
class Quantization:
    """real = scale * (q - zero_point), q int8.

    Args:
        scale: positive, a float32 value.
        zero_point: -128 to 127.
    """

    scale: float
    zero_point: int

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """float32 of any shape -> int8, halves to even, out-of-range values clipped."""
        return np.clip(np.rint(x / np.float32(self.scale)) + self.zero_point, -128, 127).astype(np.int8)

    def dequantize(self, q: np.ndarray) -> np.ndarray:
        """int8 of any shape -> float32."""
        return (q.astype(np.float32) - np.float32(self.zero_point)) * np.float32(self.scale)


class Histogram:
    """Counts of a tensor's values, in BINS equal bins from the least to the greatest value seen."""

    def __init__(self) -> None:
        self.low = np.inf
        self.high = -np.inf
        self.counts = np.zeros(BINS, np.int64)

    def widen(self, x: np.ndarray) -> None:
        """First pass: extends the interval by the values of x."""
        self.low = min(self.low, float(x.min()))
        self.high = max(self.high, float(x.max()))

    def add(self, x: np.ndarray) -> None:
        """Second pass: counts the values of x, which widen has seen."""
        if self.high > self.low:
            self.counts += np.histogram(x, BINS, (self.low, self.high))[0]


def choose(histogram: Histogram, method: str = "norm", percentile: float = 99.99) -> Quantization:
    """Interval of a tensor by one of METHODS.

    "minmax" covers every value seen. "percentile" leaves out the outermost ``100 - percentile`` percent, half on each
    side (all of it above where the values start at 0). "mse" and "norm" clip where the sum over the histogram of
    ``|rounding or clipping error| ** p`` is least, p 2 and 2.5: 48 candidates from 30 % to 100 % of each side, upper
    side first. The larger p clips outliers less; that p between 2 and 4 serves best is LAPQ's finding (Nahshan et al.
    2019, arXiv 1911.07190).
    """
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    if method == "percentile" and histogram.counts.any():
        low, high = _percentile(histogram, percentile)
    elif method in POWERS and histogram.counts.any():
        centres = histogram.low + (np.arange(BINS) + 0.5) * (histogram.high - histogram.low) / BINS
        power, used = POWERS[method], histogram.counts > 0
        centres, counts = centres[used], histogram.counts[used].astype(np.float64)
        high = _least_error(centres, counts, np.full(len(SHARES), low), high * SHARES, power)[1]
        if low < 0:
            low = _least_error(centres, counts, low * SHARES, np.full(len(SHARES), high), power)[0]
    return from_interval(low, high)


def from_interval(low: float, high: float) -> Quantization:
    """Scale and zero point of an interval, widened so that it holds 0 and 0 is a step exactly."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    span = high - low
    if not span > 1e-9:
        return Quantization(float(np.float32(1 / 128)), 0)
    scale = float(np.float32(span / 255))
    return Quantization(scale, int(np.clip(round(-128 - low / scale), -128, 127)))


def _percentile(histogram: Histogram, percentile: float) -> tuple[float, float]:
    share = 1 - percentile / 100
    two_sided = histogram.low < 0
    below = np.cumsum(histogram.counts) / histogram.counts.sum()
    edges = np.linspace(histogram.low, histogram.high, BINS + 1)
    low = edges[np.searchsorted(below, share / 2)] if two_sided else histogram.low
    high = edges[min(np.searchsorted(below, 1 - (share / 2 if two_sided else share)) + 1, BINS)]
    return float(low), float(high)


def _least_error(
    centres: np.ndarray, counts: np.ndarray, lows: np.ndarray, highs: np.ndarray, power: float
) -> tuple[float, float]:
    """The (low, high) pair of the least sum over the histogram of |x - dequantised x| ** power.

    Args:
        centres, counts: float64 (bins,).
        lows, highs: float64 (candidates,), low <= 0 <= high.
    """
    scales = np.maximum((highs - lows) / 255, 1e-12)[:, None]
    zeros = np.clip(np.rint(-128 - lows[:, None] / scales), -128, 127)
    steps = np.clip(np.rint(centres / scales) + zeros, -128, 127)
    errors = np.abs(centres - (steps - zeros) * scales)
    best = int((np.power(errors, power) @ counts).argmin())
    return float(lows[best]), float(highs[best])
