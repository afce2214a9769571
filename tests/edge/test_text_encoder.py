import json

import numpy as np
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from t2m_edge.text import load_text_encoder
from t2m_edge.text.encoder import PLACES
from t2m_edge.text.encoder_file import read_tensors, write_tensors
from t2m_edge.text.words import hash_words
from t2m_runtime.errors import InputError

VOCABULARY = ["[UNK]", "zebra", "##s", "black", "white", "stripe", "on", "a", "photo", "of"]
WIDTH, FIRST, CONTEXT, HEADS, HIDDEN, D_TEXT = 6, 2, 7, 3, 10, 8
POOLED = WIDTH * (1 + HEADS)


def small_tensors(seed=0):
    rng = np.random.default_rng(seed)

    def int8(*shape):
        return rng.integers(-127, 128, shape).astype(np.int8)

    def positive(n):
        return rng.uniform(0.005, 0.02, n).astype(np.float32)

    def matrix(name, rows, columns):
        bias = rng.normal(size=rows).astype(np.float32)
        return {name: int8(rows, columns), f"{name}_scale": positive(rows) / 4, f"{name}_bias": bias}

    n = len(VOCABULARY)
    return {
        "table": int8(n, WIDTH), "table_scale": positive(n).astype(np.float16),
        "token_weight": rng.uniform(0.5, 2, n).astype(np.float32),
        "first_places": rng.normal(size=(FIRST, 2 * PLACES)).astype(np.float32),
        "places": rng.normal(size=(HEADS, 2 * PLACES)).astype(np.float32),
        **matrix("first_query", FIRST * WIDTH, WIDTH),
        **matrix("context", CONTEXT, WIDTH * (1 + FIRST)),
        **matrix("query", HEADS * WIDTH, CONTEXT),
        **matrix("hidden", HIDDEN, POOLED),
        **matrix("linear", D_TEXT, POOLED + HIDDEN),
        "taught_words": hash_words(["zebra", "black", "white", "stripe", "on", "a", "photo", "of"]),
    }  # fmt: skip


def small_tokenizer():
    vocabulary = {token: i for i, token in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def write_encoder(folder, tensors=None, **info):
    (folder / "encoder.safetensors").write_bytes(write_tensors(tensors or small_tensors()))
    small_tokenizer().save(str(folder / "tokenizer.json"))
    described = {"schema_version": 1, "kind": "attention", "id": "small@1", "d_text": D_TEXT, "max_tokens": 6} | info
    (folder / "encoder.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_encoder(tmp_path)


@pytest.fixture
def encoder(folder):
    return load_text_encoder(folder)


def test_embeddings_are_float32_unit_rows(encoder):
    vectors = encoder.encode(["a zebra", "black stripes", "a photo of a zebra"])
    assert vectors.shape == (3, encoder.d_text) == (3, D_TEXT)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_an_embedding_is_the_formula_of_the_docstring(encoder, folder):
    t = read_tensors(folder / "encoder.safetensors")
    ids = [1, 2, 3]  # "zebras black"
    rows = t["table"][ids].astype(np.float64) * t["table_scale"][ids, None]
    weights = t["token_weight"][ids].astype(np.float64)
    mean = weights @ rows / weights.sum()

    def dense(name, x):
        return t[name] * t[f"{name}_scale"][:, None].astype(np.float64) @ x + t[f"{name}_bias"]

    def look(queries, places):
        pooled = [mean]
        for query, at in zip(queries.reshape(-1, WIDTH), places):
            scores = [query @ rows[i] + np.log(weights[i]) + at[:PLACES][i] + at[PLACES:][2 - i] for i in range(3)]
            pooled.append(np.exp(scores) @ rows / np.exp(scores).sum())
        return np.concatenate(pooled)

    context = np.maximum(dense("context", look(dense("first_query", mean), t["first_places"])), 0)
    m = look(dense("query", context), t["places"])
    v = dense("linear", np.concatenate([m, np.maximum(dense("hidden", m), 0)]))
    np.testing.assert_allclose(encoder.encode(["zebras black"])[0], v / np.linalg.norm(v), atol=1e-5)


def test_a_text_has_one_embedding_whatever_stands_beside_it(encoder):
    alone = encoder.encode(["white zebra"])[0]
    together = encoder.encode(["a photo", "white zebra", "", "on"])[1]
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_the_first_and_the_last_words_are_told_apart(encoder):
    assert np.abs(np.subtract(*encoder.encode(["black zebra", "zebra black"]))).max() > 1e-3


def test_unknown_words_do_not_move_an_embedding(encoder):
    np.testing.assert_array_equal(*encoder.encode(["zebra", "zebra 犬 xq7"]))


def test_a_text_without_known_tokens_gives_zeros(encoder):
    assert not encoder.encode(["", "犬"]).any()


def test_no_texts_give_no_rows(encoder):
    assert encoder.encode([]).shape == (0, D_TEXT)


def test_tokens_after_the_limit_are_not_read(encoder):
    six = "a photo of a black zebra"
    np.testing.assert_array_equal(*encoder.encode([six, six + " on white"]))
    assert encoder.token_count(six + " on white") == 8 > encoder.max_tokens


def test_words_tell_which_are_known_whatever_their_case_and_accents(encoder):
    assert encoder.words("Zébras, 犬 XJ-900!") == [("Zébras", True), ("犬", False), ("XJ", False), ("900", False)]


@pytest.mark.parametrize("name", ["encoder.json", "encoder.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        load_text_encoder(folder)


@pytest.mark.parametrize("name", ["encoder.json", "encoder.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff garbage", b"[" * 10_000])
def test_a_garbage_file_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=r"encoder|tokenizer"):
        load_text_encoder(folder)


@pytest.mark.parametrize("name", sorted(small_tensors()))
def test_a_missing_tensor_is_refused(tmp_path, name):
    tensors = small_tensors()
    del tensors[name]
    with pytest.raises(InputError):
        load_text_encoder(write_encoder(tmp_path, tensors))


@pytest.mark.parametrize("name", ["table_scale", "token_weight", "hidden_bias", "linear_scale"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, name, value):
    tensors = small_tensors()
    tensors[name][0] = value
    with pytest.raises(InputError, match=name):
        load_text_encoder(write_encoder(tmp_path, tensors))


def test_a_token_weight_of_zero_is_refused(tmp_path):
    tensors = small_tensors()
    tensors["token_weight"][3] = 0
    with pytest.raises(InputError, match="token_weight"):
        load_text_encoder(write_encoder(tmp_path, tensors))


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    tensors = small_tensors()
    for name in ("table", "table_scale", "token_weight"):
        tensors[name] = tensors[name][:-1]
    with pytest.raises(InputError, match="tokens"):
        load_text_encoder(write_encoder(tmp_path, tensors))


@pytest.mark.parametrize("info", [{"schema_version": 2}, {"kind": "poem"}, {"max_tokens": 0}, {"id": 5}])
def test_a_description_of_another_format_is_refused(tmp_path, info):
    with pytest.raises(InputError, match=r"encoder\.json"):
        load_text_encoder(write_encoder(tmp_path, **info))


@pytest.mark.parametrize(
    ("kind", "module", "line"),
    [
        ("sentence-transformers", "sentence_transformers", "pip install sentence-transformers"),
        ("open-clip", "open_clip", r"pip install 't2m-edge\[clip\]'"),
    ],
)
def test_a_tower_that_is_not_installed_names_its_pip_line(tmp_path, monkeypatch, kind, module, line):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(InputError, match=line):
        load_text_encoder(write_encoder(tmp_path, kind=kind, model="some-model"))
