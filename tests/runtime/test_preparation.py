"""Any image becomes the same bytes; anything else is refused in one line."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2m_runtime.errors import InputError
from t2m_runtime.preparation import open_image, prepare

RNG = np.random.default_rng(5)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(source) -> np.ndarray:
    return np.asarray(open_image(source))


def arrow(height: int = 6, width: int = 4) -> np.ndarray:
    """No two pixels alike, not square: every rotation and flip shows."""
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def resize_by_the_book(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pillow's BILINEAR, written out: triangle filter, weights in 22-bit fixed point, horizontal pass first."""
    for axis, size in ((1, width), (0, height)):
        n = image.shape[axis]
        if size == n:
            continue
        scale = n / size
        support = max(scale, 1.0)
        out = []
        for i in range(size):
            center = (i + 0.5) * scale
            first, last = max(int(center - support + 0.5), 0), min(int(center + support + 0.5), n)
            weights = [max(0.0, 1 - abs((x - center + 0.5) / support)) for x in range(first, last)]
            # Summed in order: numpy's pairwise sum rounds differently.
            total = sum(weights)
            fixed = [math.floor(0.5 + weight / total * 2**22) for weight in weights]
            part = np.take(image, range(first, last), axis).astype(np.int64)
            summed = np.tensordot(np.array(fixed), part, (0, axis)) + 2**21
            out.append(np.clip(summed >> 22, 0, 255).astype(np.uint8))
        image = np.stack(out, axis)
    return image


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24), st.integers(1, 24), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_stretch_is_the_documented_resize(height, width, rows, columns, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    expected = resize_by_the_book(image, rows, columns)
    np.testing.assert_array_equal(prepare(image, rows, columns, "stretch"), expected)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 24))
@settings(max_examples=40, deadline=None)
def test_center_is_a_centre_square_then_the_resize(height, width, side):
    image = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), np.uint8)
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    expected = resize_by_the_book(image[top : top + square, left : left + square], side, side)
    np.testing.assert_array_equal(prepare(image, side, side), expected)


def test_the_horizontal_pass_comes_first_whatever_is_cheaper():
    image = RNG.integers(0, 256, (58, 9, 3), np.uint8)
    other = resize_by_the_book(resize_by_the_book(image, 11, 9), 11, 11)
    np.testing.assert_array_equal(prepare(image, 11, 11, "stretch"), resize_by_the_book(image, 11, 11))
    assert (prepare(image, 11, 11, "stretch") != other).any()


def test_a_long_thin_image_is_refused_where_widening_it_would_fill_the_memory():
    with pytest.raises(InputError, match="long and thin"):
        prepare(np.broadcast_to(np.zeros(3, np.uint8), (2**20, 1, 3)), 256, 256, "stretch")


def test_prepared_bytes_never_change():
    y, x = np.mgrid[0:301, 0:403]
    image = np.stack([(x * 7 + y) % 256, (x * y) % 251, (y * 5) % 256], -1).astype(np.uint8)
    digest = hashlib.sha256(prepare(image, 96, 96).tobytes()).hexdigest()
    assert digest == "a8d00a66146bda39cb9311987a61af3f4d64f1a8fb25cb3638541f80553f54b0"


def test_arrays_and_images_give_the_same_bytes():
    image = RNG.integers(0, 256, (50, 70, 3), np.uint8)
    np.testing.assert_array_equal(prepare(image, 32, 32), prepare(Image.fromarray(image), 32, 32))
    np.testing.assert_array_equal(prepare(image[:, ::-1], 32, 32), prepare(image[:, ::-1].copy(), 32, 32))


def test_the_result_is_its_own_memory():
    image = arrow(8, 8)
    result = prepare(image, 8, 8)
    result[:] = 0
    assert image.any() and result.flags.c_contiguous and result.dtype == np.uint8


UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied_once(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(arrow()), kind, exif=exif, **options)
    expected = UPRIGHT[orientation](arrow())
    np.testing.assert_array_equal(pixels(data), expected)
    np.testing.assert_array_equal(prepare(open_image(data), 4, 4, "stretch"), prepare(expected, 4, 4, "stretch"))


def test_exif_rotation_of_a_jpeg_file_and_of_an_image_that_is_already_open(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = np.zeros((32, 64, 3), np.uint8)
    photo[:, :32] = 255
    path = tmp_path / "photo.jpg"
    Image.fromarray(photo).save(path, exif=exif, quality=95)
    upright = pixels(path)
    assert upright.shape == (64, 32, 3)
    assert upright[:30].min() > 200 and upright[34:].max() < 50
    with Image.open(path) as opened:
        np.testing.assert_array_equal(prepare(opened, 16, 16, "stretch"), prepare(upright, 16, 16, "stretch"))


@pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"])
def test_broken_exif_counts_as_none(exif, recwarn):
    data = encoded(Image.fromarray(arrow(16, 16)), "JPEG", exif=exif)
    assert pixels(data).shape == (16, 16, 3)
    assert not recwarn.list


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_unknown_orientation_counts_as_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(arrow()), exif=exif)), arrow())


def test_metadata_does_not_survive():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = open_image(encoded(Image.fromarray(arrow()), exif=exif))
    assert image.mode == "RGB" and image.info == {} and not dict(image.getexif())


def test_grey_is_repeated():
    grey = RNG.integers(0, 256, (5, 7), np.uint8)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(grey))), np.repeat(grey[..., None], 3, -1))


def test_one_bit_images_are_black_and_white():
    bits = Image.fromarray(np.eye(4, dtype=bool))
    np.testing.assert_array_equal(pixels(encoded(bits))[..., 0], np.eye(4) * 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_high_byte(kind):
    grey = RNG.integers(0, 65536, (5, 7), np.uint16)
    found = pixels(encoded(Image.fromarray(grey), kind))
    np.testing.assert_array_equal(found, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, -1))


def test_sixteen_bit_grey_pgm_keeps_its_high_byte():
    grey = np.array([[0, 256, 65535, 0x1234]], ">u2")
    np.testing.assert_array_equal(pixels(b"P5 4 1 65535\n" + grey.tobytes())[0, :, 0], [0, 1, 255, 0x12])


def test_palettes_are_looked_up():
    image = Image.fromarray(np.array([[0, 1], [2, 0]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    np.testing.assert_array_equal(pixels(encoded(image)), [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 0, 0]]])


def test_transparency_is_laid_over_white():
    rgba = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
    found = pixels(encoded(Image.fromarray(rgba)))[0]
    np.testing.assert_array_equal(found[:2], [[10, 20, 30], [255, 255, 255]])
    assert np.abs(found[2].astype(int) - 127).max() <= 1


def test_a_transparent_palette_colour_is_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    np.testing.assert_array_equal(pixels(encoded(image, transparency=0))[0], [[255, 255, 255], [0, 255, 0]])


def test_a_transparent_rgb_colour_is_white():
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    np.testing.assert_array_equal(pixels(encoded(image, transparency=(1, 2, 3)))[0], [[255, 255, 255], [4, 5, 6]])


def test_grey_with_alpha_is_laid_over_white():
    image = Image.fromarray(np.array([[[50, 255], [50, 0]]], np.uint8), "LA")
    np.testing.assert_array_equal(pixels(encoded(image))[0, :, 0], [50, 255])


def test_cmyk_becomes_rgb():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    found = pixels(encoded(image, "JPEG", quality=95))
    assert found.shape == (16, 16, 3)
    assert np.abs(found.astype(int) - [255, 0, 0]).max() < 12


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (6, 6), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(pixels(data)[0, 0], [255, 0, 0])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "L", "P", "I;16", "CMYK", "YCbCr", "HSV"])
def test_open_images_of_any_mode_are_prepared(mode):
    image = Image.new("L", (9, 7), 90).convert(mode) if mode != "I;16" else Image.new("I;16", (9, 7), 90 << 8)
    assert np.abs(prepare(image, 4, 4).astype(int) - 90).max() <= 2


def test_floating_point_pixels_are_refused():
    with pytest.raises(InputError, match="floating-point"):
        open_image(encoded(Image.new("F", (4, 4), 0.5), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_truncated_images_are_refused(kind):
    data = encoded(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)), kind)
    for size in (0, 1, 10, len(data) // 4, len(data) // 2, len(data) - len(data) // 8):
        with pytest.raises(InputError) as caught:
            open_image(data[:size])
        assert "\n" not in str(caught.value)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(12_000, 12_000), (100_000, 100_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)])
def test_decompression_bombs_are_refused_before_they_are_decoded(size, recwarn):
    with pytest.raises(InputError, match="pixels"):
        open_image(bomb(*size))
    assert not recwarn.list


def test_eps_is_refused_without_starting_a_program():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(InputError, match="EPS"):
        open_image(eps)


def test_files_that_are_no_images_are_refused(tmp_path):
    text = tmp_path / "notes.jpg"
    text.write_text("not a photo")
    for source in (text, str(text), text.read_bytes(), tmp_path, tmp_path / "missing.jpg", "a\0b", "", b"", 5, None):
        with pytest.raises(InputError) as caught:
            open_image(source)
        assert "\n" not in str(caught.value)


@given(st.binary(max_size=300))
def test_any_bytes_give_an_image_or_an_input_error(data):
    with contextlib.suppress(InputError):
        assert open_image(data).mode == "RGB"


SAMPLES = [
    encoded(Image.fromarray(RNG.integers(0, 256, (12, 12, 3), np.uint8)), kind)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "TGA", "ICO", "PCX", "JPEG2000")
]


@given(st.sampled_from(SAMPLES), st.integers(0, 10_000), st.binary(min_size=1, max_size=6))
@settings(max_examples=400, deadline=None)
def test_damaged_images_give_an_image_or_an_input_error(data, position, patch):
    position %= len(data)
    try:
        image = open_image(data[:position] + patch + data[position + len(patch) :])
        assert image.mode == "RGB"
    except InputError:
        pass


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.broadcast_to(np.zeros(3, np.uint8), (2**14, 2**14, 3)),
        "photo.jpg",
        None,
    ],
)
def test_arrays_of_another_kind_are_refused(image):
    with pytest.raises(InputError, match="the image"):
        prepare(image, 4, 4)


@pytest.mark.parametrize(("height", "width"), [(0, 4), (4, -1), (4, 4097), (4.0, 4), (True, 4), ("4", 4)])
def test_sizes_out_of_range_are_refused(height, width):
    with pytest.raises(InputError, match="whole number"):
        prepare(arrow(), height, width)


def test_an_unknown_crop_is_refused():
    with pytest.raises(InputError, match="center, stretch"):
        prepare(arrow(), 4, 4, "left")
