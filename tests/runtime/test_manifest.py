"""Manifests go to JSON and back, and anything else is refused."""

from __future__ import annotations

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2m_runtime.errors import InputError
from t2m_runtime.json_fields import MAX_MANIFEST_BYTES
from t2m_runtime.manifest import Manifest
from t2m_runtime.self_test import SelfTest

LABEL = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=20).filter(
    lambda text: text == text.strip()
)


@given(st.lists(LABEL, min_size=1, max_size=8, unique=True), st.data())
def test_a_manifest_survives_json(models, labels, data):
    k = len(labels)
    thresholds = data.draw(st.lists(st.none() | st.floats(0, 1), min_size=k, max_size=k))
    manifest = models.manifest(labels=tuple(labels), thresholds=tuple(thresholds))
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert Manifest.from_json(manifest.to_json().encode("utf-8")) == manifest


def test_a_self_test_survives_json_with_its_pixels(models):
    manifest = Manifest.from_json(models.with_self_test(models.manifest()).to_json())
    expected = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    np.testing.assert_array_equal(manifest.self_test.image(8, 8), expected)


def test_unknown_keys_are_ignored(models):
    body = json.loads(models.manifest().to_json())
    body["later"] = {"anything": [1, 2]}
    body["input"]["later"] = 1
    assert Manifest.from_json(json.dumps(body)) == models.manifest()


def test_a_later_schema_version_says_to_upgrade(models):
    body = {**json.loads(models.manifest().to_json()), "schema_version": 2}
    with pytest.raises(InputError, match="upgrade"):
        Manifest.from_json(json.dumps(body))


def test_a_later_preparation_version_says_to_upgrade(models):
    body = json.loads(models.manifest().to_json())
    body["input"]["preparation_version"] = 2
    with pytest.raises(InputError, match="upgrade"):
        Manifest.from_json(json.dumps(body))


NAN = float("nan")
WRONG = [
    ("schema_version", 0),
    ("schema_version", True),
    ("schema_version", 1.0),
    ("schema_version", "1"),
    ("name", ""),
    ("name", "a\nb"),
    ("name", None),
    ("labels", []),
    ("labels", ["a", "a", "b"]),
    ("labels", ["a", "b"]),
    ("labels", ["a", "", "b"]),
    ("labels", ["a", " b", "c"]),
    ("labels", ["a", "b\u2028", "c"]),
    ("labels", ["a", "\x1b[31m", "c"]),
    ("labels", ["a", "\ud800", "c"]),
    ("labels", ["a", "b", "x" * 1001]),
    ("labels", "abc"),
    ("labels", ["a", 1, "c"]),
    ("labels", [str(i) for i in range(10_001)]),
    ("thresholds", [0.5]),
    ("thresholds", [0.5, "x", None]),
    ("thresholds", [True, None, None]),
    ("thresholds", [NAN, None, None]),
    ("target", "exe"),
    ("target", 1),
    ("precision", "int4"),
    ("input", None),
    ("input", {}),
    ("input.height", 0),
    ("input.height", 10**9),
    ("input.width", -1),
    ("input.width", 8.0),
    ("input.crop", "left"),
    ("input.mean", [1, 2]),
    ("input.mean", [1, 2, 3, 4]),
    ("input.std", [1, 0, 1]),
    ("input.std", [1, 1e999, 1]),
    ("input.preparation_version", 0),
    ("output.dtype", "float64"),
    ("output.scores", "odds"),
    ("pack.sha256", "a" * 63),
    ("pack.sha256", "A" * 64),
    ("pack.sha256", "a" * 64 + "\n"),
    ("pack.name", ""),
    ("backbone_sha256", "g" * 64),
    ("tool_version", 1),
    ("self_test", []),
    ("self_test", {}),
    ("self_test.expected", [0.1]),
    ("self_test.expected", [0.1, 0.2, NAN]),
    ("self_test.tolerance", -1),
    ("self_test.tolerance", 10**400),
    ("self_test.input", "\u00e9"),
    ("self_test.input_sha256", ""),
]


@pytest.mark.parametrize(("key", "value"), WRONG, ids=[f"{key}-{str(value)[:20]}" for key, value in WRONG])
def test_a_wrong_field_is_refused_by_name(models, key, value):
    body = json.loads(models.with_self_test(models.manifest()).to_json())
    *outer, last = key.split(".")
    part = body[outer[0]] if outer else body
    part[last] = value
    with pytest.raises(InputError, match="manifest") as caught:
        Manifest.from_json(json.dumps(body))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("key", ["schema_version", "labels", "target", "input", "pack", "backbone_sha256"])
def test_a_missing_field_is_named(models, key):
    body = json.loads(models.manifest().to_json())
    del body[key]
    with pytest.raises(InputError, match=key):
        Manifest.from_json(json.dumps(body))


def test_constructing_checks_like_reading(models):
    with pytest.raises(InputError, match="labels"):
        models.manifest(labels=("a", "a"))
    with pytest.raises(InputError, match="crop"):
        models.manifest(input=dataclasses.replace(models.manifest().input, crop="top"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        '{"schema_version":' + "9" * 100_000 + "}",
        " " * (MAX_MANIFEST_BYTES + 1),
    ],
    ids=["empty", "not-utf8", "null", "list", "cut", "deep", "digits", "large"],
)
def test_text_that_is_no_manifest_is_refused(text):
    with pytest.raises(InputError):
        Manifest.from_json(text)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_text_gives_a_manifest_or_an_input_error(text):
    with pytest.raises(InputError):
        Manifest.from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@settings(max_examples=300)
def test_any_json_in_any_field_gives_a_manifest_or_an_input_error(models, data):
    body = json.loads(models.with_self_test(models.manifest()).to_json())
    part = data.draw(st.sampled_from([body, body["input"], body["output"], body["pack"], body["self_test"]]))
    part[data.draw(st.sampled_from(sorted(part)))] = data.draw(JSON)
    try:
        manifest = Manifest.from_json(json.dumps(body))
    except InputError:
        return
    assert Manifest.from_json(manifest.to_json()) == manifest


def png(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    "stored",
    ["", "AAAA", "not base64!", png(np.zeros((9, 8, 3), np.uint8)), png(np.zeros((8, 8), np.uint8))],
    ids=["empty", "not-png", "not-base64", "other-size", "grey"],
)
def test_a_broken_self_test_image_is_refused(stored):
    test = SelfTest("0" * 64, stored, (1.0,), 0.1)
    with pytest.raises(InputError, match="self-test"):
        test.image(8, 8)


def test_a_self_test_image_with_other_pixels_is_refused():
    test = SelfTest.from_image(np.zeros((8, 8, 3), np.uint8), (1.0,), 0.1)
    with pytest.raises(InputError, match="sha256"):
        dataclasses.replace(test, input=png(np.ones((8, 8, 3), np.uint8))).image(8, 8)
