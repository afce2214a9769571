"""Any image -> the model's input, the same bytes in every runtime.

Preparation, version 1, in this order:

1. rotate and flip as EXIF says, first frame of an animation;
2. RGB, 8 bits: grey is repeated, palettes are looked up, 16-bit grey keeps its high byte, transparency is laid over
   white, CMYK and YCbCr are converted by Pillow's plain formulas; colour profiles are ignored;
3. ``crop="center"``: the centre square, at ``(w - s) // 2, (h - s) // 2`` with ``s = min(w, h)``;
   ``crop="stretch"``: the whole image;
4. Pillow's BILINEAR resize: antialiased, horizontal pass first, fixed-point weights, uint8 between the passes.

Training, the feature bank and every runtime do exactly this, and the manifest names the version.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from typing import TYPE_CHECKING, Union

import numpy as np

from t2m_runtime.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

# Pillow is imported where it is used: a program that classifies ready arrays does without, and starts faster.
PREPARATION_VERSION = 1
CROPS = ("center", "stretch")
MAX_PIXELS = 2**27
"""Largest image that is decoded, 134 megapixels: above a 108 megapixel camera, about 400 MB as RGB."""
MAX_SIDE = 4096
"""Largest height or width that a model's input may have."""

Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def open_image(source: Source) -> Image.Image:
    """Decodes a photo of any size and format that Pillow reads.

    Args:
        source: path of an image file, or the file's bytes.

    Returns:
        An upright 8-bit RGB image (steps 1 and 2 above) with no metadata left.

    Raises:
        InputError: no such file, not an image, truncated or broken, more than MAX_PIXELS pixels, floating-point
            pixels, or a format that only an external program could draw (EPS).
    """
    from PIL import Image

    name, file = _open_file(source)
    with file, warnings.catch_warnings():
        # Pillow warns about large images and odd metadata; here MAX_PIXELS is the limit, and a sound photo is a photo.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        # Pillow's decoders raise almost any exception on broken bytes (OSError, SyntaxError, struct.error, ...).
        try:
            image = Image.open(file)
        except Image.DecompressionBombError:
            raise _too_large(name) from None
        except Exception as error:
            raise InputError(f"{name} is not an image that Pillow {_version()} can read; give a JPEG or PNG") from error
        with image:
            _check_size(image, name)
            if image.format == "EPS":
                raise InputError(f"{name} is an EPS drawing, not a photo; save it as JPEG or PNG first")
            try:
                image.load()
            except Image.DecompressionBombError:
                raise _too_large(name) from None
            except Exception as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise InputError(f"{name} is broken or cut short ({reason}); give a complete image file") from error
            return _upright_rgb(image, name)


def prepare(image: Image.Image | np.ndarray, height: int, width: int, crop: str = "center") -> np.ndarray:
    """Crops and resizes an image to a model's input (steps 1 to 4 above).

    Args:
        image: a Pillow image of any mode (its EXIF rotation is applied), or uint8 (H, W, 3) RGB, already upright.
        height: rows of the result, 1 to MAX_SIDE.
        width: columns of the result, 1 to MAX_SIDE.
        crop: "center" or "stretch".

    Returns:
        uint8 (height, width, 3), C-contiguous, its own memory.

    Raises:
        InputError: an array of another shape or dtype, an empty image, a size out of range, or an unknown crop.
    """
    from PIL import Image

    for side, value in (("height", height), ("width", width)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not 1 <= value <= MAX_SIDE:
            raise InputError(f"{side} is {value!r}; give a whole number from 1 to {MAX_SIDE}")
    if crop not in CROPS:
        raise InputError(f"crop is {crop!r}; give one of {', '.join(CROPS)}")
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(
                f"the image is a {image.dtype} array of shape {image.shape}; give uint8 RGB of shape (height, width, 3)"
            )
        if image.shape[0] * image.shape[1] > MAX_PIXELS:
            raise _too_large("the image")
        rows, columns = image.shape[:2]
        if crop == "center":
            left, top, right, bottom = _centre_square(columns, rows)
            image = image[top:bottom, left:right]
        upright = Image.fromarray(np.ascontiguousarray(image))
    elif isinstance(image, Image.Image):
        _check_size(image, "the image")
        try:
            image.load()
        except Exception as error:
            raise InputError(f"the image cannot be decoded ({error}); give a complete image") from error
        upright = _upright_rgb(image, "the image")
        if crop == "center" and upright.width != upright.height:
            upright = upright.crop(_centre_square(*upright.size))
    else:
        raise InputError(
            f"the image is a {type(image).__name__}; give a Pillow image or a uint8 array (height, width, 3)"
        )
    if width * upright.height > MAX_PIXELS:
        raise InputError(f"the image is {upright.width}x{upright.height} pixels, too long and thin; crop it first")
    # One pass a call: left to itself, Pillow 13 takes the cheaper pass first and older versions the horizontal one,
    # which rounds differently.
    narrow = upright.resize((int(width), upright.height), Image.Resampling.BILINEAR, reducing_gap=None)
    resized = narrow.resize((int(width), int(height)), Image.Resampling.BILINEAR, reducing_gap=None)
    return np.array(resized, dtype=np.uint8)


def _open_file(source: Source) -> tuple[str, io.BufferedIOBase]:
    """The name to use in messages, and an open binary file."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the image", io.BytesIO(source)
    try:
        path = os.fspath(source)
    except TypeError:
        raise InputError(f"the image is a {type(source).__name__}; give a path or the file's bytes") from None
    name = os.fsdecode(path)
    try:
        # A pipe or a device could block or never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{name} is not a regular file; give an image file")
        return name, open(path, "rb")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot open the image {name!r} ({reason}); check the path") from error


def _check_size(image: Image.Image, name: str) -> None:
    if image.width < 1 or image.height < 1:
        raise InputError(f"{name} is {image.width}x{image.height} pixels; give an image that is not empty")
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)


def _too_large(name: str) -> InputError:
    return InputError(f"{name} has more than {MAX_PIXELS} pixels; make it smaller first")


def _version() -> str:
    import PIL

    return PIL.__version__


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """A new upright RGB image without metadata, from a loaded image of any mode."""
    from PIL import Image

    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # broken EXIF in a sound photo: as if there were none
        turn = None
    try:
        rgb = _rgb(image, name)
        if turn is not None:
            rgb = rgb.transpose(getattr(Image.Transpose, turn))
        elif rgb is image:
            rgb = image.copy()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{name} has pixels of kind {image.mode!r} that cannot become RGB; save it as PNG") from error
    # Nothing may rotate the result a second time.
    rgb.info = {}
    return rgb


def _rgb(image: Image.Image, name: str) -> Image.Image:
    """Step 2: the image's pixels as 8-bit RGB."""
    from PIL import Image

    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise InputError(f"{name} has floating-point pixels whose range is unknown; save it with 8 bits a channel")
    if image.mode == "I" or image.mode.startswith("I;16"):
        # Pillow would clip here: everything above 255 becomes white. "I" holds 16-bit values too.
        high = np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8
        return Image.fromarray(high.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        seen = image.convert("RGBA")
        white = Image.new("RGBA", seen.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, seen).convert("RGB")
    return image.convert("RGB")


def _centre_square(width: int, height: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of step 3."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side
