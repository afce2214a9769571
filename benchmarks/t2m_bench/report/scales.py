"""Axes: where a value lies between 0 and 100 % of a plot, which ticks are drawn, and how numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOGARITHMIC_FROM = 12.0
"""Ratio of the greatest to the least value from which an axis is logarithmic."""


@dataclass(frozen=True)
class Scale:
    """From low to high; at(value): per cent of the way, in logarithms where so."""

    low: float
    high: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Per cent, kept between 0 and 100."""
        if self.logarithmic:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return 100 * min(1.0, max(0.0, share))

    def values(self, count: int) -> list[float]:
        """count values at equal distances on the axis."""
        steps = [i / (count - 1) for i in range(count)]
        if self.logarithmic:
            return [self.low * (self.high / self.low) ** s for s in steps]
        return [self.low + (self.high - self.low) * s for s in steps]

    def ticks(self, most: int = 6) -> list[float]:
        """Round values inside."""
        if self.logarithmic:
            lowest, highest = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            for digits in ((1, 2, 5), (1, 3), (1,)):
                found = [d * 10.0**e for e in range(lowest, highest + 1) for d in digits]
                found = [t for t in found if self.low <= t <= self.high]
                if len(found) <= most:
                    return found
            return found
        step = _round_step((self.high - self.low) / most)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_step(least: float) -> float:
    power = 10 ** math.floor(math.log10(least))
    return next(d * power for d in (1, 2, 2.5, 5, 10) if d * power >= least * 0.999)


def scale_of(values: Sequence[float], from_zero: bool = True, least: float = 0.0) -> Scale:
    """A scale with some air around the values (all above 0); least: what it spans at least, so that a small difference
    looks small."""
    low, high = min(values), max(values)
    if high > low * LOGARITHMIC_FROM and low > 0:
        return Scale(low / 1.3, high * 1.3, True)
    if from_zero:
        return Scale(0.0, high * 1.06 or 1.0)
    air = max((high - low) * 0.12, (least - high + low) / 2) or abs(high) * 0.05 or 1.0
    return Scale(low - air, high + air)


def number(value: float | None, unit: str = "ms", name_unit: bool = False) -> str:
    """Three digits that count; milliseconds, or millions of instructions."""
    if value is None:
        return "–"
    shown, word = (value / 1e6, "M") if unit == "instructions" else (value, unit)
    size = abs(shown)
    digits = 0 if size >= 100 or size == 0 else min(4, 2 - math.floor(math.log10(size)))
    return f"{shown:,.{digits}f}{' ' + word if name_unit else ''}"


def tick(value: float, unit: str) -> str:
    """A round value of an axis, as short as it can be."""
    return f"{value / 1e6 if unit == 'instructions' else value:,.6g}"
