"""Camera frames as RGB images: what the C core's t2m_prepare does before it resizes, in numpy.

    image = prepare(frame_to_rgb(frame), height, width)

A frame's rows may have gaps (stride), its samples too (step). YUV is 4:2:0, each colour sample repeated for its 2 x 2
pixels, converted by 6-bit fixed-point tables; ``yuv="bt601-full"`` gives the same bytes as Pillow's YCbCr.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import numpy as np

from t2m_runtime.errors import InputError

FORMATS = ("rgb", "rgba", "bgra", "rgbx", "bgrx", "gray", "nv12", "nv21", "i420")
YUVS = ("bt601-full", "bt601-limited", "bt709-limited")
MAX_FRAME_SIDE = 32_768

Bytes = Union[bytes, bytearray, memoryview, np.ndarray]

_SAMPLE_BYTES = {"rgb": 3, "rgba": 4, "bgra": 4, "rgbx": 4, "bgrx": 4}

# Y, V to red, U to green, V to green, U to blue, in millionths; limited: times 255/219 and 255/224.
_FACTORS = {
    "bt601-full": (1_000_000, 1_402_000, -344_140, -714_140, 1_772_000),
    "bt601-limited": (1_164_384, 1_596_027, -391_762, -812_968, 2_017_232),
    "bt709-limited": (1_164_384, 1_792_741, -213_249, -532_909, 2_112_402),
}


@dataclass(frozen=True)
class Frame:
    """One camera frame, as stored.

    Args:
        format: one of FORMATS. nv12, nv21: planes Y and interleaved colour; i420: planes Y, U, V; else one plane.
        width, height: in pixels, as stored, before the rotation.
        planes: the bytes of each plane.
        strides: bytes from one row to the next, for each plane; 0 (or left out): no gap.
        steps: bytes from one sample to the next, for each plane; 0 (or left out): as the format says.
        rotation: clockwise turn that makes the frame upright: 0, 90, 180 or 270 degrees.
        yuv: one of YUVS.

    Raises:
        InputError: an unknown format, a number out of range, or planes smaller than they should be.
    """

    format: str
    width: int
    height: int
    planes: tuple[Bytes, ...]
    strides: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    rotation: int = 0
    yuv: str = "bt601-full"

    def __post_init__(self) -> None:
        for what, value, known in (("format", self.format, FORMATS), ("yuv", self.yuv, YUVS)):
            if value not in known:
                raise InputError(f"the frame's {what} is {value!r}; give one of {', '.join(known)}")
        if self.rotation not in (0, 90, 180, 270):
            raise InputError(f"the frame's rotation is {self.rotation!r}; give 0, 90, 180 or 270")
        if not (1 <= self.width <= MAX_FRAME_SIDE and 1 <= self.height <= MAX_FRAME_SIDE):
            raise InputError(f"the frame is {self.width}x{self.height}; give sides from 1 to {MAX_FRAME_SIDE}")
        if len(self.planes) != self.n_planes:
            raise InputError(f"a {self.format} frame has {self.n_planes} planes; {len(self.planes)} were given")
        if self.format == "i420" and self.layout(1) != self.layout(2):
            raise InputError("the planes U and V have different strides or steps; give the same")
        for index, plane in enumerate(self.planes):
            stride, step = self.layout(index)
            columns, rows = self.plane_size(index)
            row = (columns - 1) * step + self.sample_bytes(index)
            needed = (rows - 1) * stride + row
            if step < self.sample_bytes(index) or stride < row or memoryview(plane).nbytes < needed:
                raise InputError(
                    f"plane {index} of the {self.format} frame has {memoryview(plane).nbytes} bytes, stride {stride}, "
                    f"step {step}; {columns}x{rows} samples need a stride of {row} and {needed} bytes"
                )

    @property
    def n_planes(self) -> int:
        """How many planes the format has."""
        return {"nv12": 2, "nv21": 2, "i420": 3}.get(self.format, 1)

    def sample_bytes(self, plane: int) -> int:
        """Bytes of one sample of a plane."""
        return 2 if plane and self.format in ("nv12", "nv21") else _SAMPLE_BYTES.get(self.format, 1)

    def plane_size(self, plane: int) -> tuple[int, int]:
        """(columns, rows) of a plane's samples."""
        return ((self.width + 1) // 2, (self.height + 1) // 2) if plane else (self.width, self.height)

    def layout(self, plane: int) -> tuple[int, int]:
        """(stride, step) of a plane, defaults filled in."""
        step = (self.steps[plane] if plane < len(self.steps) else 0) or self.sample_bytes(plane)
        row = (self.plane_size(plane)[0] - 1) * step + self.sample_bytes(plane)
        return (self.strides[plane] if plane < len(self.strides) else 0) or row, step


def frame_to_rgb(frame: Frame) -> np.ndarray:
    """A frame as an upright image: uint8 (height, width, 3), RGB."""
    samples = [_samples(frame, index) for index in range(frame.n_planes)]
    if frame.format == "gray":
        rgb = np.repeat(samples[0], 3, axis=2)
    elif frame.format in ("nv12", "nv21", "i420"):
        chroma = np.concatenate(samples[1:], axis=2)
        u, v = (1, 0) if frame.format == "nv21" else (0, 1)
        wide = chroma.repeat(2, axis=0).repeat(2, axis=1)[: frame.height, : frame.width]
        rgb = _from_yuv(samples[0][..., 0], wide[..., u], wide[..., v], frame.yuv)
    else:
        rgb = samples[0][..., :3]
        if frame.format in ("bgra", "bgrx"):
            rgb = rgb[..., ::-1]
        if frame.format in ("rgba", "bgra"):
            rgb = _over_white(rgb, samples[0][..., 3:])
    return np.ascontiguousarray(np.rot90(rgb, -(frame.rotation // 90)))


def _samples(frame: Frame, plane: int) -> np.ndarray:
    """uint8 (rows, columns, sample bytes) view of a plane."""
    data = np.frombuffer(frame.planes[plane], np.uint8)
    columns, rows = frame.plane_size(plane)
    stride, step = frame.layout(plane)
    return np.lib.stride_tricks.as_strided(
        data, (rows, columns, frame.sample_bytes(plane)), (stride, step, 1), writeable=False
    )


def _from_yuv(y: np.ndarray, u: np.ndarray, v: np.ndarray, yuv: str) -> np.ndarray:
    """uint8 (h, w) planes of one size -> uint8 (h, w, 3)."""
    black = 0 if yuv == "bt601-full" else 16
    tables = []
    for index, factor in enumerate(_FACTORS[yuv]):
        level = np.arange(256) - (black if index == 0 else 128)
        # Half added, then cut towards zero, as Pillow's tables are.
        tables.append(np.trunc((factor * 64 * level + 500_000) / 1_000_000).astype(np.int32))
    luma = tables[0][y]
    sums = (luma + tables[1][v], luma + tables[2][u] + tables[3][v], luma + tables[4][u])
    return np.clip(np.stack(sums, -1) >> 6, 0, 255).astype(np.uint8)


def _over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Pillow's alpha_composite over opaque white."""
    alpha = alpha.astype(np.uint32)
    sums = ((rgb * alpha + 255 * (255 - alpha)) << 7) + (0x80 << 7)
    return ((((sums >> 8) + sums) >> 8) >> 7).astype(np.uint8)
