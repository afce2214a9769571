"""Camera frames: C and Python give the same bytes, and both give Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2m_runtime import prepare
from t2m_runtime.arena import Room
from t2m_runtime.core import CoreModel
from t2m_runtime.errors import InputError
from t2m_runtime.frames import FORMATS, YUVS, Frame, frame_to_rgb


@st.composite
def frames(draw) -> Frame:
    kind, yuv = draw(st.sampled_from(FORMATS)), draw(st.sampled_from(YUVS))
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    gap, more = draw(st.integers(0, 9)), draw(st.integers(0, 2))
    empty = object.__new__(Frame)
    for name, value in {"format": kind, "width": width, "height": height, "strides": (), "steps": ()}.items():
        object.__setattr__(empty, name, value)
    planes, strides, steps = [], [], []
    for index in range(empty.n_planes):
        columns, rows = empty.plane_size(index)
        steps.append(empty.sample_bytes(index) + more)
        strides.append((columns - 1) * steps[-1] + empty.sample_bytes(index) + gap)
        planes.append(rng.integers(0, 256, (rows - 1) * strides[-1] + strides[-1] - gap, np.uint8))
    rotation = draw(st.sampled_from([0, 90, 180, 270]))
    return Frame(kind, width, height, tuple(planes), tuple(strides), tuple(steps), rotation, yuv)


@pytest.fixture(scope="module", params=[(96, 96, "center"), (11, 17, "stretch")], ids=["square", "stretch"])
def sized(request, library, compiled, tools):
    """One model for each of the kernels here, and the crop of its manifest."""
    height, width, crop = request.param
    model = compiled["int8"] if crop == "center" else stretched(height, width)
    return [CoreModel(model, kernels=name, library=library) for name in tools.kernel_names(library)], crop


@pytest.fixture(scope="module")
def unscaled(library, tools):
    """A model as large as its frames for each of the kernels here."""
    model, room = stretched(512, 512), Room(frame_side=512)
    return [CoreModel(model, room, kernels=name, library=library) for name in tools.kernel_names(library)]


def stretched(height: int, width: int) -> bytes:
    """A small model of another size whose manifest says "stretch"."""
    from t2m_exporters.graph import Graph, Mean
    from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
    from t2m_runtime.head import Head, Layer
    from t2m_runtime.manifest import InputSpec, Manifest, OutputSpec, PackRef

    graph = Graph((height, width, 3), (128.0,) * 3, (128.0,) * 3, (Mean("mean", "image"),), "mean")
    head = Head(("a", "b"), (Layer(np.ones((2, 3), np.float32), np.zeros(2, np.float32)),))
    manifest = Manifest(
        schema_version=1,
        name="test",
        labels=head.labels,
        thresholds=(None, None),
        target="tflite",
        precision="fp32",
        input=InputSpec(height=height, width=width, crop="stretch"),
        output=OutputSpec(),
        pack=PackRef("test", "1", "0" * 64),
        backbone_sha256="0" * 64,
        tool_version="0.1.0",
    )
    return append_head_tflite(write_backbone_tflite(graph), head, manifest)


@given(frame=frames())
@settings(max_examples=150, deadline=None)
def test_c_prepares_any_frame_as_python_does(sized, frame):
    cores, crop = sized
    expected = prepare(frame_to_rgb(frame), cores[0].height, cores[0].width, crop)
    for core in cores:
        np.testing.assert_array_equal(core.prepare(frame), expected, err_msg=core.kernels)


def camera_frame(kind: str, height: int, width: int, rotation: int) -> Frame:
    rng = np.random.default_rng(1)
    if kind == "rgb":
        return Frame(kind, width, height, (rng.integers(0, 256, (height, width, 3), np.uint8),), rotation=rotation)
    luma = rng.integers(0, 256, (height, width), np.uint8)
    chroma = rng.integers(0, 256, ((height + 1) // 2, (width + 1) // 2, 2), np.uint8)
    if kind == "nv21":
        return Frame(kind, width, height, (luma, chroma), rotation=rotation)
    u, v = (np.ascontiguousarray(chroma[..., index]) for index in (0, 1))
    return Frame(kind, width, height, (luma, u, v), rotation=rotation)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (31, 900), (901, 33)])
@pytest.mark.parametrize("kind", ["nv21", "i420", "rgb"])
def test_c_prepares_camera_sizes_as_python_does(sized, shape, kind, rotation):
    cores, crop = sized
    frame = camera_frame(kind, *shape, rotation)
    expected = prepare(frame_to_rgb(frame), cores[0].height, cores[0].width, crop)
    for core in cores:
        np.testing.assert_array_equal(core.prepare(frame), expected, err_msg=core.kernels)


@pytest.mark.parametrize("yuv", YUVS)
@pytest.mark.parametrize("kind", ["nv12", "nv21", "i420"])
def test_c_gives_every_colour_as_python_does(unscaled, kind, yuv):
    """256 x 256 chroma samples hold every U with every V, and nothing is resized."""
    u, v = (channel.astype(np.uint8) for channel in np.mgrid[0:256, 0:256])
    chroma = {"nv12": (np.stack([u, v], -1),), "nv21": (np.stack([v, u], -1),), "i420": (u.copy(), v.copy())}[kind]
    for levels in (np.arange(4) * 85, np.array([1, 15, 16, 17]), np.array([127, 128, 234, 236])):
        luma = np.tile(levels.reshape(2, 2), (256, 256)).astype(np.uint8)
        frame = Frame(kind, 512, 512, (luma, *chroma), yuv=yuv)
        expected = frame_to_rgb(frame)
        for core in unscaled:
            np.testing.assert_array_equal(core.prepare(frame), expected, err_msg=core.kernels)


def test_full_range_yuv_is_pillows_for_all_colours():
    u, v = (channel.astype(np.uint8) for channel in np.mgrid[0:256, 0:256])
    for luma in (0, 60, 128, 200, 255):
        y = np.full((512, 512), luma, np.uint8)
        ours = frame_to_rgb(Frame("i420", 512, 512, (y, u.copy(), v.copy())))
        planes = [Image.fromarray(plane) for plane in (y[:256, :256], u, v)]
        np.testing.assert_array_equal(ours[::2, ::2], np.asarray(Image.merge("YCbCr", planes).convert("RGB")))


def test_transparency_is_laid_over_white_as_pillow_does():
    colour, alpha = np.mgrid[0:256, 0:256]
    pixels = np.stack([colour, 255 - colour, colour // 2, alpha], -1).astype(np.uint8)
    white = Image.new("RGBA", (256, 256), (255, 255, 255, 255))
    expected = np.asarray(Image.alpha_composite(white, Image.fromarray(pixels)).convert("RGB"))
    np.testing.assert_array_equal(frame_to_rgb(Frame("rgba", 256, 256, (pixels,))), expected)


def test_limited_range_black_and_white_are_black_and_white():
    for yuv in ("bt601-limited", "bt709-limited"):
        for luma, level in ((16, 0), (235, 255), (0, 0), (255, 255)):
            grey = np.full((2, 2), 128, np.uint8)
            frame = Frame("nv12", 2, 2, (np.full((2, 2), luma, np.uint8), grey[:1]), yuv=yuv)
            assert (frame_to_rgb(frame) == level).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "yuyv"},
        {"rotation": 45},
        {"width": 0},
        {"width": 9},
        {"height": 9},
        {"strides": (23,)},
        {"strides": (25,)},
        {"steps": (2,)},
        {"planes": ()},
        {"yuv": "bt2020"},
    ],
)
def test_frames_that_claim_too_much_are_refused(changes):
    values = {"format": "rgb", "width": 8, "height": 8, "planes": (bytes(192),), **changes}
    with pytest.raises(InputError):
        Frame(**values)
