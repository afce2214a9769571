"""TFLite Metadata: readers that know nothing of us find labels and pixel format."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from t2m_exporters.graph import run
from t2m_exporters.quantize import UNIT, quantize_head
from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
from t2m_exporters.tflite_metadata import labels_file, model_metadata, with_files
from t2m_runtime.errors import InputError


def test_labels_are_one_a_line():
    assert labels_file(("a", "b c", "d")) == b"a\nb c\nd\n"


@pytest.mark.parametrize("label", ["", "a\nb", "a\r", "a\u2028b"])
def test_a_label_that_a_line_cannot_hold_is_refused(label):
    with pytest.raises(InputError):
        labels_file(("good", label))


def test_the_same_files_give_the_same_bytes():
    assert with_files(b"model", files={"a": b"1"}) == with_files(b"mo", b"del", files={"a": b"1"})


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="mediapipe is not installed")
@pytest.mark.slow
def test_mediapipes_own_parser_reads_every_field():
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    found = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(model_metadata("Obst", "x", 96, 64), 0))
    assert (found.name, found.description, found.minParserVersion) == (b"Obst", b"x", b"1.0.0")
    image = found.subgraphMetadata[0].inputTensorMetadata[0]
    scores = found.subgraphMetadata[0].outputTensorMetadata[0]
    assert image.content.contentPropertiesType == schema.ContentProperties.ImageProperties
    properties = image.content.contentProperties
    assert properties.colorSpace == schema.ColorSpaceType.RGB
    assert (properties.defaultSize.width, properties.defaultSize.height) == (64, 96)
    assert image.processUnits[0].optionsType == schema.ProcessUnitOptions.NormalizationOptions
    options = image.processUnits[0].options
    assert (list(options.mean), list(options.std)) == ([0], [1])
    assert scores.associatedFiles[0].name == b"labels.txt"
    assert scores.associatedFiles[0].type == schema.AssociatedFileType.TENSOR_AXIS_LABELS


@pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="mediapipe is not installed")
@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("hidden", [0, 24])
def test_mediapipe_classifies_with_labels_by_name(make, graph, quantized, precision, hidden):
    import mediapipe
    from mediapipe.tasks.python import BaseOptions, vision

    head = replace(make.head(4, 32, hidden), labels=("zebra", "Äpfel", "a b", "d"))
    images = make.pictures(6, 48, seed=8)
    features = run(graph, make.pictures(100, 48, seed=7), ["unit"])["unit"]
    backbone = write_backbone_tflite(graph if precision == "fp32" else quantized)
    given = head if precision == "fp32" else quantize_head(head, UNIT.quantize(features), UNIT.scale)
    model = append_head_tflite(backbone, given, make.manifest(head, "tflite", precision, 48))
    logits = head.logits(run(graph, images, ["unit"])["unit"])
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_buffer=model))
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image, scores in zip(images, expected, strict=True):
            picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(image))
            found = {c.category_name: c.score for c in classifier.classify(picture).classifications[0].categories}
            assert set(found) == set(head.labels)
            tolerance = 1e-4 if precision == "fp32" else 0.15
            np.testing.assert_allclose([found[name] for name in head.labels], scores, atol=tolerance)
