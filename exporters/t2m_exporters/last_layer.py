"""The last linear layer of a classifier from elsewhere: its rows as the file stores them, and more rows beside them.

The stored numbers of the old rows never change; a new row takes the form that they have. Where it cannot (one scale
for the whole tensor, and a weight beyond what 8 bits reach at it), its outermost weights are clipped and counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from t2m_runtime.errors import InputError

MAX_ROWS = 100_000
MAX_COLUMNS = 65_536
FLOATS = ("float16", "float32", "float64")
_BIAS_LIMIT = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Rows:
    """One row a class; real weight = scale * (weight - zero_point), real bias = bias_scale * bias.

    weight: (k, d) float16, float32 or float64, or int8 or uint8 with scale and zero_point.
    scale: float32 (1,) or (k,), or None; zero_point: int64 of the same shape, or None.
    bias: (k,) floats, or int32 with bias_scale; zeros for a layer without one that can be given one, None for a layer
    that cannot.
    input_scale: of the features that meet quantised weights; 0 where the features are floats.
    """

    weight: np.ndarray
    bias: np.ndarray | None
    scale: np.ndarray | None = None
    zero_point: np.ndarray | None = None
    input_scale: float = 0.0

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or not 2 <= len(self.weight) <= MAX_ROWS or not 2 <= self.width <= MAX_COLUMNS:
            raise InputError(f"the last layer's weights have shape {self.weight.shape}; expected (classes, features)")
        if str(self.weight.dtype) not in (*FLOATS, "int8", "uint8"):
            raise InputError(f"the last layer's weights are {self.weight.dtype}; expected floats, int8 or uint8")
        if (self.scale is None) != (str(self.weight.dtype) in FLOATS):
            raise InputError("the last layer's weights are quantised without a scale, or are floats with one")
        if self.scale is not None and (
            len(self.scale) not in (1, len(self.weight))
            or self.zero_point.shape != self.scale.shape
            or not (np.isfinite(self.scale).all() and (self.scale > 0).all())
        ):
            raise InputError("the last layer's scales do not fit its rows; make the model again")
        if self.bias is not None and self.bias.shape != (len(self.weight),):
            raise InputError(f"the last layer has {len(self.weight)} rows and a bias of shape {self.bias.shape}")
        if self.bias is not None and self.bias.dtype == np.int32 and not self.input_scale > 0:
            raise InputError("the last layer's int32 bias has no scale; make the model again")
        weight, bias = self.real()
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise InputError("the last layer holds values that are not finite; train the model again")

    @property
    def width(self) -> int:
        """Length of the features."""
        return self.weight.shape[1]

    @property
    def bias_scale(self) -> np.ndarray:
        """Of an int32 bias: float64 (1,) or (k,)."""
        return self.scale.astype(np.float64) * self.input_scale

    def real(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (k, d) and biases (k,), float64; zeros for a layer without a bias."""
        # Numbers of a damaged file are checked for being finite afterwards; until then numpy would warn.
        with np.errstate(all="ignore"):
            weight = self.weight.astype(np.float64)
            if self.scale is not None:
                weight = (weight - self.zero_point[:, None]) * self.scale[:, None].astype(np.float64)
            if self.bias is None:
                return weight, np.zeros(len(weight))
            bias = self.bias.astype(np.float64)
            return weight, bias * self.bias_scale if self.bias.dtype == np.int32 else bias

    def with_rows(self, weight: np.ndarray, bias: np.ndarray) -> tuple[Rows, int]:
        """These rows and more, which are rounded to the form of the old ones.

        Floats are rounded to their type. With one scale a row, a new row's scale makes it use the steps that the old
        rows use. With one scale for all, it stays, and weights beyond its range are clipped.

        Args:
            weight, bias: real numbers (n, d) and (n,). Biases are dropped where the layer can have none.

        Returns:
            The rows, and how many of the new weights were clipped.
        """
        clipped, scales, zeros = 0, self.scale, self.zero_point
        kind = self.weight.dtype
        if self.scale is None:
            limit = float(np.finfo(kind).max)
            added = np.clip(weight, -limit, limit).astype(kind)
            clipped = int((np.abs(weight) > limit).sum())
        else:
            ends = np.iinfo(kind)
            if len(self.scale) == 1:
                step, zero = np.full(len(weight), self.scale[0], np.float32), np.full(len(weight), self.zero_point[0])
            else:
                zero = np.full(len(weight), int(np.median(self.zero_point)))
                reach = np.abs(self.weight.astype(np.int64) - self.zero_point[:, None]).max()
                reach = min(max(int(reach), 1), ends.max - int(zero[0]), int(zero[0]) - ends.min)
                step = (np.abs(weight).max(1) / max(reach, 1)).astype(np.float32)
                step = np.maximum(step, self.scale.min())
                scales, zeros = np.concatenate([scales, step]), np.concatenate([zeros, zero])
            steps = np.rint(weight / step[:, None].astype(np.float64)) + zero[:, None]
            added = np.clip(steps, ends.min, ends.max).astype(kind)
            clipped = int((steps != added).sum())
        both = np.concatenate([self.weight, added])
        if self.bias is None:
            return replace(self, weight=both, scale=scales, zero_point=zeros), clipped
        if self.bias.dtype == np.int32:
            step = (self.scale if len(self.scale) == 1 else scales[len(self.weight) :]).astype(np.float64)
            more = np.clip(np.rint(bias / (step * self.input_scale)), -_BIAS_LIMIT, _BIAS_LIMIT).astype(np.int32)
        else:
            limit = float(np.finfo(self.bias.dtype).max)
            more = np.clip(bias, -limit, limit).astype(self.bias.dtype)
        return replace(
            self, weight=both, bias=np.concatenate([self.bias, more]), scale=scales, zero_point=zeros
        ), clipped


@dataclass(frozen=True, eq=False)
class LastLayer:
    """What a file's last layer is.

    rows: as stored; labels: the names that the file carries, or None; kind: what the layer is, for people.
    """

    rows: Rows
    labels: tuple[str, ...] | None
    kind: str


def more_entries(shape: list[int], before: int, after: int) -> list[int]:
    """A shape whose only entry ``before`` became ``after``; others are left (a tail of a classifier keeps its k)."""
    return [after if n == before else n for n in shape]
