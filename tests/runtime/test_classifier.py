"""Photo in, class names out, on every engine that is installed."""

from __future__ import annotations

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from t2m_runtime.artifact import save_head
from t2m_runtime.classifier import Classifier, Result
from t2m_runtime.errors import InputError, WorkError
from t2m_runtime.manifest import InputSpec, OutputSpec


def load(models, **changes) -> Classifier:
    return Classifier.load(models.attach(models.colour_tflite(), models.manifest(**changes)))


def encoded(image: np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def test_a_photo_is_named_by_its_colour(models, model_bytes):
    with Classifier.load(model_bytes) as classifier:
        assert classifier.labels == models.labels
        for name, colour in (("red", (250, 10, 10)), ("green", (0, 200, 0)), ("blue", (0, 0, 255))):
            result = classifier.classify(models.colour_photo(colour, side=100))
            assert result.names[0] == name and not result.rejected
            assert len(result.names) == len(result.scores) == 3
            assert sum(result.scores) == pytest.approx(1, abs=1e-5)
            assert list(result.scores) == sorted(result.scores, reverse=True)


def test_scores_are_the_models_output_in_label_order(models, model_bytes):
    image = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
    with Classifier.load(model_bytes) as classifier:
        scores = classifier.scores(image)
        np.testing.assert_allclose(scores, models.expected_scores(image), atol=1e-5)
        np.testing.assert_array_equal(classifier.scores(image[np.newaxis]), scores)
        assert scores.dtype == np.float32 and scores.shape == (3,)


def test_every_kind_of_photo_gives_the_same_answer(models, model_bytes, tmp_path):
    pixels = np.random.default_rng(4).integers(0, 256, (20, 30, 3), np.uint8)
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(pixels))
    kinds = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.fromarray(pixels), pixels]
    with Classifier.load(model_bytes) as classifier:
        results = classifier.classify_many(kinds)
    assert len(results) == len(kinds) and set(results) == {results[0]}


def test_a_model_loads_from_a_path(models, model_bytes, tmp_path):
    path = tmp_path / "model"
    path.write_bytes(model_bytes)
    image = models.colour_photo((9, 9, 200))
    assert Classifier.load(path).classify(image) == Classifier.load(str(path)).classify(image)


def test_top_k_lists_the_best(models):
    image = models.colour_photo((120, 130, 110))
    classifier = load(models)
    full = classifier.classify(image)
    assert classifier.classify(image, top_k=2) == Result(full.names[:2], full.scores[:2], False)
    assert classifier.classify(image, top_k=99) == full
    for wrong in (0, -1, 1.0, True, "2"):
        with pytest.raises(InputError, match="top_k"):
            classifier.classify(image, top_k=wrong)


def test_equal_scores_keep_the_order_of_the_labels(models):
    assert load(models).classify(models.colour_photo((50, 50, 50))).names == models.labels


def test_a_best_score_under_its_class_threshold_is_rejected(models):
    image = models.colour_photo((125, 120, 110))
    best = load(models).classify(image).scores[0]
    assert load(models, thresholds=(best + 0.01, None, None)).classify(image).rejected
    assert not load(models, thresholds=(best - 0.01, None, None)).classify(image).rejected
    assert not load(models, thresholds=(None, 0.99, 0.99)).classify(image).rejected
    assert load(models, thresholds=(best + 0.01, None, None)).classify(image).names[0] == "red"


def test_crop_follows_the_manifest(models):
    photo = models.colour_photo((255, 0, 0), side=30)
    photo = np.concatenate([models.colour_photo((0, 0, 255), side=30), photo, photo[:, ::-1]], axis=1)
    photo[:, 60:] = (0, 0, 255)
    assert load(models).classify(photo).names[0] == "red"
    stretch = InputSpec(height=8, width=8, crop="stretch")
    assert load(models, input=stretch).classify(photo).names[0] == "blue"


def test_exif_rotation_is_honoured(models):
    photo = np.zeros((40, 20, 3), np.uint8)
    photo[:10] = (255, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(photo, exif=exif)
    classifier = load(models, input=InputSpec(height=8, width=8, crop="stretch"))
    with Image.open(io.BytesIO(data)) as opened:
        assert classifier.classify(data) == classifier.classify(opened) == classifier.classify(np.rot90(photo, -1))


def test_the_self_test_passes_and_a_wrong_one_shows(models, model_bytes):
    with Classifier.load(model_bytes) as classifier:
        assert classifier.self_test() <= classifier.manifest.self_test.tolerance
    manifest = models.with_self_test(models.manifest())
    wrong = dataclasses.replace(manifest.self_test, expected=(0.0, 0.0, 5.0))
    assert load(models, self_test=wrong).self_test() > 4


def test_a_model_without_a_self_test_says_so(models):
    with pytest.raises(InputError, match="no self-test"):
        load(models).self_test()


def test_a_closed_classifier_says_so(models, model_bytes):
    with Classifier.load(model_bytes) as classifier:
        pass
    with pytest.raises(InputError, match="closed"):
        classifier.classify(models.colour_photo((1, 2, 3)))
    classifier.close()


def test_several_threads_get_their_own_answers(models, model_bytes):
    images = np.random.default_rng(6).integers(0, 256, (200, 8, 8, 3), np.uint8)
    with Classifier.load(model_bytes) as classifier:
        expected = [classifier.scores(image) for image in images]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(classifier.scores, images))
    np.testing.assert_array_equal(found, expected)


def test_a_head_file_needs_a_backbone(models):
    data = save_head(models.colour_head(), models.manifest(target="head"))
    with pytest.raises(InputError, match="backbone"):
        Classifier.load(data)


def test_models_that_are_not_ours_are_refused(models):
    for data in (models.colour_tflite(), models.colour_onnx(None), b"", b"text"):
        with pytest.raises(InputError):
            Classifier.load(data)


def test_a_manifest_of_another_model_is_refused(models):
    with pytest.raises(InputError, match="pixels"):
        load(models, input=InputSpec(height=9, width=8))
    with pytest.raises(InputError, match="labels"):
        load(models, labels=("a", "b"))


def test_photos_that_are_no_photos_are_refused(models):
    classifier = load(models)
    for image in (b"text", "missing.jpg", None, 3, np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3))):
        with pytest.raises(InputError):
            classifier.classify(image)
    for image in (np.zeros((9, 8, 3), np.uint8), np.zeros((8, 8, 3)), np.zeros((2, 8, 8, 3), np.uint8), None):
        with pytest.raises(InputError, match="prepare"):
            classifier.scores(image)


def test_scores_that_are_not_numbers_are_a_failure(models):
    class Broken:
        height = width = 8
        n_outputs = 3

        def run(self, image):
            return np.array([np.nan, 0, 0], np.float32)

    with pytest.raises(WorkError, match="finite"):
        Classifier(models.manifest(), Broken()).classify(models.colour_photo((0, 0, 0)))


def test_logits_are_given_as_they_are(models):
    classifier = load(models, output=OutputSpec(scores="logits"))
    assert classifier.manifest.output.scores == "logits"
    assert classifier.classify(models.colour_photo((200, 0, 0))).names[0] == "red"
