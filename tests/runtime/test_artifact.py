"""Artifacts are recognised by their bytes, and their manifests read."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2m_runtime import artifact
from t2m_runtime.artifact import read_manifest
from t2m_runtime.errors import InputError


def test_the_manifest_of_a_full_model_is_read(models, model_bytes, tmp_path):
    path = tmp_path / "any.name"
    path.write_bytes(model_bytes)
    manifest = read_manifest(model_bytes)
    assert manifest.labels == models.labels and manifest.self_test is not None
    assert read_manifest(path) == read_manifest(str(path)) == read_manifest(bytearray(model_bytes)) == manifest


def test_models_that_are_not_ours_are_refused(models):
    for data in (models.colour_tflite(), models.colour_onnx(None), models.attach(models.colour_tflite(), "", "x.json")):
        with pytest.raises(InputError, match="did not make it"):
            read_manifest(data)


def test_a_manifest_that_is_no_manifest_is_refused(models):
    for data in (models.attach(models.colour_tflite(), "{}"), models.colour_onnx("[]")):
        with pytest.raises(InputError, match="manifest"):
            read_manifest(data)


def test_other_files_are_refused(tmp_path):
    text = tmp_path / "notes.tflite"
    text.write_text("hello")
    for source in (text, b"", b"PK\x03\x04", tmp_path, tmp_path / "missing.tflite", "a\0b", 5, None):
        with pytest.raises(InputError) as caught:
            read_manifest(source)
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="regular file"):
        read_manifest(tmp_path / "pipe")


def test_a_file_of_4_gigabytes_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large.tflite"
    with open(path, "wb") as file:
        file.write(b"\x1c\0\0\0TFL3")
        file.truncate(2**32)
    with pytest.raises(InputError, match="bytes"):
        read_manifest(path)


def test_bytes_beyond_the_limit_are_refused(monkeypatch):
    monkeypatch.setattr(artifact, "MAX_ARTIFACT_BYTES", 100)
    with pytest.raises(InputError, match="100 bytes"):
        read_manifest(b"\x08" * 101)


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_damaged_model_gives_a_manifest_or_an_input_error(models, position, patch):
    for data in (models.attach(models.colour_tflite(), models.manifest()), models.colour_onnx(models.manifest())):
        at = position % len(data)
        try:
            manifest = read_manifest(data[:at] + patch + data[at + len(patch) :])
        except InputError:
            continue
        assert len(manifest.labels) == len(manifest.thresholds)


def test_a_model_cut_anywhere_is_refused(model_bytes):
    for size in range(0, len(model_bytes), 7):
        with pytest.raises(InputError):
            read_manifest(model_bytes[:size])


def test_a_tflite_that_is_cut_off_is_told_so(models):
    model = models.attach(models.colour_tflite(), models.manifest())
    archive = model.index(b"PK\x03\x04")
    for size in range(8, len(model)):
        # Near the archive's beginning it may be a whole model that carries nothing.
        if not archive - 16 <= size < archive + 4:
            with pytest.raises(InputError, match="damaged or cut short"):
                read_manifest(model[:size])
    with pytest.raises(InputError, match="did not make it"):
        read_manifest(models.colour_tflite())


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(InputError):
        read_manifest(data)
