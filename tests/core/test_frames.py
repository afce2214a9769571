"""Camera frames: C and Python give the same bytes, and both give Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2m_runtime import prepare
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
    height, width, crop = request.param
    if (height, width) == (96, 96):
        return CoreModel(compiled["int8"], library=library), crop
    return stretched(tools, library, height, width), crop


def stretched(tools, library, height: int, width: int) -> CoreModel:
    """A small model of another size whose manifest says "stretch"."""
    import dataclasses

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
    model = append_head_tflite(write_backbone_tflite(graph), head, dataclasses.replace(manifest))
    return CoreModel(model, library=library)


@given(frame=frames())
@settings(max_examples=150, deadline=None)
def test_c_prepares_any_frame_as_python_does(sized, frame):
    core, crop = sized
    expected = prepare(frame_to_rgb(frame), core.height, core.width, crop)
    np.testing.assert_array_equal(core.prepare(frame), expected)


@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (31, 900)])
@pytest.mark.parametrize("kind", ["nv21", "rgb"])
def test_c_prepares_camera_sizes_as_python_does(sized, shape, kind):
    height, width = shape
    rng = np.random.default_rng(1)
    planes = [rng.integers(0, 256, (height, width, 3), np.uint8)]
    if kind == "nv21":
        planes = [planes[0][..., 0].copy(), rng.integers(0, 256, ((height + 1) // 2, (width + 1) // 2, 2), np.uint8)]
    frame = Frame(kind, width, height, tuple(planes), rotation=90)
    core, crop = sized
    expected = prepare(frame_to_rgb(frame), core.height, core.width, crop)
    np.testing.assert_array_equal(core.prepare(frame), expected)


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
