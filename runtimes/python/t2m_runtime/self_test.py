"""What an artifact must give for an input that it carries: how a device finds out that it computes as the host did."""

from __future__ import annotations

import base64
import hashlib
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2m_runtime.errors import InputError
from t2m_runtime.head import MAX_LABELS
from t2m_runtime.json_fields import SHA256, field, integer, list_of, number, require, string


@dataclass(frozen=True)
class SelfTest:
    """One image and the output that the artifact must give for it.

    Args:
        input_sha256: of the uint8 (height, width, 3) pixels, row by row.
        input: the image as PNG, base64.
        expected: the model's k outputs as written when the artifact was made (dequantised).
        tolerance: largest absolute difference that another engine may show.
    """

    input_sha256: str
    input: str
    expected: tuple[float, ...]
    tolerance: float

    @classmethod
    def from_image(cls, image: np.ndarray, expected: tuple[float, ...], tolerance: float) -> SelfTest:
        """Packs a uint8 (height, width, 3) image and its expected outputs."""
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(image, dtype=np.uint8)).save(file, "PNG", optimize=True)
        return cls.from_png(file.getvalue(), image, expected, tolerance)

    @classmethod
    def from_png(cls, png: bytes, image: np.ndarray, expected: tuple[float, ...], tolerance: float) -> SelfTest:
        """The same from an image and its PNG form."""
        return cls(
            input_sha256=hashlib.sha256(np.ascontiguousarray(image, dtype=np.uint8).tobytes()).hexdigest(),
            input=base64.b64encode(png).decode("ascii"),
            expected=tuple(float(value) for value in expected),
            tolerance=float(tolerance),
        )

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "input_sha256": self.input_sha256,
            "input": self.input,
            "expected": list(self.expected),
            "tolerance": self.tolerance,
        }

    def check(self) -> None:
        """Raises InputError where a field is out of range."""
        require(SHA256.match(self.input_sha256) is not None, "self_test", "has a sha256 that is not 64 hex digits")
        require(self.input.isascii(), "self_test", "has an input that is not base64")
        _check_expected(self.expected, self.tolerance)

    def png(self) -> bytes:
        """The image as PNG."""
        return base64.b64decode(self.input)

    def image(self, height: int, width: int) -> np.ndarray:
        """The image, uint8 (height, width, 3).

        Raises:
            InputError: it is not a PNG of that size, or its pixels do not have the stated hash.
        """
        from PIL import Image

        try:
            with Image.open(io.BytesIO(base64.b64decode(self.input, validate=True)), formats=["PNG"]) as png:
                if png.size != (width, height) or png.mode != "RGB":
                    raise InputError(f"the self-test image is {png.size} {png.mode}; expected {(width, height)} RGB")
                pixels = np.array(png, dtype=np.uint8)
        except InputError:
            raise
        except Exception as error:  # whatever broken base64 or PNG bytes raise
            raise InputError(f"the self-test image is broken ({error}); make the artifact again") from error
        if hashlib.sha256(pixels.tobytes()).hexdigest() != self.input_sha256:
            raise InputError("the self-test image does not match its sha256; make the artifact again")
        return pixels


@dataclass(frozen=True)
class HeadTest:
    """The self-test of a head file: a row of the pack's feature bank and the logits that the head must give for it.

    Args:
        bank_index: which row.
        expected: k logits, dequantised.
        tolerance: largest absolute difference.
    """

    bank_index: int
    expected: tuple[float, ...]
    tolerance: float

    def to_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {"bank_index": self.bank_index, "expected": list(self.expected), "tolerance": self.tolerance}

    def check(self) -> None:
        """Raises InputError where a field is out of range."""
        require(0 <= self.bank_index < 2**31, "self_test", "has a bank index that is not a row")
        _check_expected(self.expected, self.tolerance)


def read_self_test(body: dict[str, Any]) -> SelfTest | HeadTest:
    """The self-test of a manifest, not yet checked; InputError where a field is missing or of another type."""
    expected, tolerance = field(body, "expected", list_of(number, MAX_LABELS)), field(body, "tolerance", number)
    if "bank_index" in body:
        return HeadTest(field(body, "bank_index", integer), expected, tolerance)
    return SelfTest(field(body, "input_sha256", string), field(body, "input", string), expected, tolerance)


def _check_expected(expected: tuple[float, ...], tolerance: float) -> None:
    require(all(math.isfinite(value) for value in expected), "self_test", "expects a number that is not finite")
    require(math.isfinite(tolerance) and tolerance >= 0, "self_test", "has a tolerance under 0")
