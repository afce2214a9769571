"""What a text encoder is, and the pack's own one.

The own encoder (a row and a weight for each token, attention pooling, one hidden layer) was taught by larger text
models; see t2m_edge/training/text_train.py. Of the order of words it sees only which come first and last.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from t2m_edge.text.encoder_file import read_tensors
from t2m_edge.text.words import TaughtWords, split_words
from t2m_runtime.errors import InputError

SCHEMA_VERSION = 1
KINDS = ("attention", "sentence-transformers", "open-clip")
WORDS_KEPT = 65_536
MATRICES = ("first_query", "context", "query", "hidden", "linear")
PLACES = 4
"""First and last tokens of a text that attention tells from the others."""
MAX_JSON_BYTES = 8 * 2**20
FILES = ("encoder.json", "encoder.safetensors", "tokenizer.json")


class TextEncoder(Protocol):
    """texts -> embeddings.

    Attributes:
        d_text: width of an embedding.
        id: name and hash; two encoders with one id give the same vectors.
        max_tokens: tokens of a text after this many are not read.
    """

    d_text: int
    id: str
    max_tokens: int

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), d_text), unit rows (a row of zeros for a text without any known token)."""
        ...

    def words(self, text: str) -> list[tuple[str, bool]]:
        """The words of a text in order, each with whether the encoder was taught it."""
        ...

    def token_count(self, text: str) -> int:
        """Number of tokens of a text before any is cut off."""
        ...


@dataclass(frozen=True)
class _Rows:
    """Of n texts of t tokens each: rows float32 (n, t, e), log weights (n, 1, t), weighted means (n, 1, e)."""

    rows: np.ndarray
    base: np.ndarray
    mean: np.ndarray


def _look(queries: np.ndarray, places: np.ndarray, parts: Sequence[_Rows]) -> np.ndarray:
    """OwnEncoder's look: queries (n, k e) of the texts of all parts, places (k, 2 PLACES) -> (n, e + k e)."""
    pooled, done = np.empty((len(queries), len(parts[0].mean[0, 0]) + queries.shape[1]), np.float32), 0
    first, last = np.split(places, 2, axis=1)
    for part in parts:
        n, t, e = part.rows.shape
        step = np.arange(t)
        place = first[:, np.minimum(step, PLACES - 1)] + last[:, np.minimum(step[::-1], PLACES - 1)]
        scores = queries[done : done + n].reshape(n, -1, e) @ part.rows.swapaxes(1, 2) + part.base + place
        pooled[done : done + n] = np.concatenate([part.mean, softmax(scores) @ part.rows], axis=1).reshape(n, -1)
        done += n
    return pooled


class OwnEncoder:
    """The pack's own encoder; numpy and tokenizers only.

    With token rows E (int8 with a scale a row), token weights w > 0, texts as token lists t_1 .. t_n (unknown tokens
    left out), two looks at the tokens, each with queries that come from what is known of the text before:

        m_0 = sum_i w[t_i] E[t_i] / sum_i w[t_i]
        look(q_1, .., q_k) = [m_0, p_1, .., p_k],   p_h = sum_i softmax_i(s_h) E[t_i]
        s_hi = q_h . E[t_i] + log w[t_i] + P_h[i] + P_h[i - n]
        m = look(Q relu(U look(R m_0 + r) + u) + q)
        v = A m + B relu(C m + c) + b,   embedding = v / |v|

    P_h has one number for each of the first PLACES tokens and each of the last ones; those between share one of each.
    (Attention with learned queries in the place of the words of a sentence: Yang et al. 2016, "Hierarchical attention
    networks for document classification"; a second look: Sukhbaatar et al. 2015, arXiv 1503.08895.)

    Args:
        tokenizer: gives the token numbers.
        tensors: "table" int8 (n, e), "table_scale" float16 (n,), "token_weight" float32 (n,), "taught_words" uint32
            (any,), "first_places" float32 (j, 2 PLACES), "places" (k, 2 PLACES), and five matrices M as "M" int8 (rows,
            columns), "M_scale" and "M_bias" float32 (rows,): "first_query" (j e, e), "context" (c, e + j e), "query"
            (k e, c), "hidden" (h, e + k e), "linear" (d, e + k e + h) over [m, hidden].
        id: see TextEncoder.
        max_tokens: see TextEncoder.

    Raises:
        InputError: a tensor is missing, has another shape or dtype, or is not finite.
    """

    def __init__(self, tokenizer: Tokenizer, tensors: dict[str, np.ndarray], id: str, max_tokens: int):
        d = check_tensors(tensors)
        n = len(tensors["table"])
        if tokenizer.get_vocab_size() != n:
            raise InputError(
                f"the tokenizer has {tokenizer.get_vocab_size()} tokens and the table {n}; use one encoder"
            )
        self.id = id
        self.d_text = d
        self.max_tokens = max_tokens
        self._tokenizer = tokenizer
        self._unknown = tokenizer.token_to_id("[UNK]")
        self._table, self._table_scale = tensors["table"], tensors["table_scale"].astype(np.float32)
        self._log_weight = np.log(tensors["token_weight"])
        self._first_places, self._places = tensors["first_places"], tensors["places"]
        self._matrices = {m: (tensors[m] * tensors[f"{m}_scale"][:, None]).T for m in MATRICES}
        self._biases = {m: tensors[f"{m}_bias"] for m in MATRICES}
        self._taught = TaughtWords(tensors["taught_words"])
        # The classes of a task share most of their words.
        self._known = lru_cache(maxsize=WORDS_KEPT)(self._knows)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), d_text), unit rows (a row of zeros for a text without any known token)."""
        tokens = [self._tokens(text) for text in texts]
        counts = np.array([len(ids) for ids in tokens])
        # Texts of one length pass together, so that nothing is padded; what has no tokens stays at zero.
        lengths = [np.flatnonzero(counts == count) for count in np.unique(counts[counts > 0])]
        vectors = np.zeros((len(texts), self.d_text), np.float32)
        if not lengths:
            return vectors
        parts = [self._rows(np.array([tokens[i] for i in alike])) for alike in lengths]
        means = np.concatenate([part.mean[:, 0] for part in parts])
        first = _look(self._dense("first_query", means), self._first_places, parts)
        context = np.maximum(self._dense("context", first), 0)
        pooled = _look(self._dense("query", context), self._places, parts)
        hidden = np.maximum(self._dense("hidden", pooled), 0)
        found = self._dense("linear", np.concatenate([pooled, hidden], axis=1))
        vectors[np.concatenate(lengths)] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return vectors

    def _rows(self, ids: np.ndarray) -> _Rows:
        """Of token numbers (n, t)."""
        rows = self._table[ids] * self._table_scale[ids, None]
        base = self._log_weight[ids][:, None]
        return _Rows(rows, base, softmax(base) @ rows)

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self._matrices[name] + self._biases[name]

    def _tokens(self, text: str) -> list[int]:
        # One by one: encode_batch starts threads, which costs more than it saves on a task's few texts.
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids[: self.max_tokens]
        return [i for i in ids if i != self._unknown]

    def words(self, text: str) -> list[tuple[str, bool]]:
        """The words of a text in order, each with whether the encoder was taught it (see TaughtWords)."""
        return [(word, self._known(word)) for word in split_words(text)]

    def _knows(self, word: str) -> bool:
        plain = word.lower() if word.isascii() else self._tokenizer.normalizer.normalize_str(word).strip()
        return plain in self._taught

    def token_count(self, text: str) -> int:
        """Number of tokens of a text before any is cut off."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def load_text_encoder(folder: str | Path) -> TextEncoder:
    """The encoder in `folder` (encoder.json, encoder.safetensors, tokenizer.json) or the one that encoder.json names.

    A folder with only encoder.json names a tower, which loads lazily: {"schema_version": 1, "kind":
    "sentence-transformers" or "open-clip", "model": its name, "revision" or "pretrained": which weights}.

    Raises:
        InputError: a file is missing, too large or not what it should be, or a tower's package is not installed.
    """
    folder = Path(folder)
    info = _read_info(folder / "encoder.json")
    if info["kind"] == "sentence-transformers":
        from t2m_edge.text.sentence_tower import SentenceTower

        return SentenceTower(info["model"], info.get("revision"))
    if info["kind"] == "open-clip":
        from t2m_edge.text.open_clip_tower import OpenClipTower

        return OpenClipTower(info["model"], info.get("pretrained"))
    tokenizer = _read_tokenizer(folder / "tokenizer.json")
    return OwnEncoder(tokenizer, read_tensors(folder / "encoder.safetensors"), info["id"], info["max_tokens"])


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def check_tensors(tensors: dict[str, np.ndarray]) -> int:
    """d_text of an own encoder's tensors; InputError where one is missing or does not fit the others."""
    try:
        (n, e), (j, _), (k, _) = (tensors[name].shape for name in ("table", "first_places", "places"))
        (c, _), (h, _), (d, _) = (tensors[name].shape for name in ("context", "hidden", "linear"))
    except (KeyError, ValueError):
        raise InputError("the text encoder lacks one of its matrices; fetch the pack again") from None
    first, pooled = e + j * e, e + k * e
    expected: dict[str, tuple[tuple[int, ...], type]] = {
        "table": ((n, e), np.int8), "table_scale": ((n,), np.float16), "token_weight": ((n,), np.float32),
        "first_places": ((j, 2 * PLACES), np.float32), "places": ((k, 2 * PLACES), np.float32),
    }  # fmt: skip
    shapes = ((j * e, e), (c, first), (k * e, c), (h, pooled), (d, pooled + h))
    for name, (rows, columns) in zip(MATRICES, shapes):
        expected |= {name: ((rows, columns), np.int8)}
        expected |= {f"{name}_{part}": ((rows,), np.float32) for part in ("scale", "bias")}
    for name, (shape, dtype) in expected.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape != shape or tensor.dtype != dtype or 0 in shape:
            found = "missing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
            raise InputError(f"text encoder tensor {name} is {found}; expected {np.dtype(dtype)} {shape}")
        if np.issubdtype(dtype, np.floating) and not np.isfinite(tensor).all():
            raise InputError(f"text encoder tensor {name} holds values that are not finite; fetch the pack again")
    if not (tensors["token_weight"] > 0).all():
        raise InputError("text encoder tensor token_weight holds values that are not above 0; fetch the pack again")
    words = tensors.get("taught_words")
    if words is None or words.ndim != 1 or words.dtype != np.uint32:
        raise InputError("the text encoder has no list taught_words (uint32); fetch the pack again")
    return d


def _read_info(path: Path) -> dict:
    try:
        info = json.loads(_read_small(path))
        if info["schema_version"] != SCHEMA_VERSION or info["kind"] not in KINDS:
            raise InputError(
                f"{path} describes a text encoder of kind {info['kind']!r}, schema {info['schema_version']!r}; "
                f"expected {', '.join(KINDS)}, schema {SCHEMA_VERSION}: fetch a pack of this t2m-edge"
            )
        if info["kind"] != "attention":
            named = [info["model"], info.get("revision"), info.get("pretrained")]
            if not all(value is None or isinstance(value, str) for value in named):
                raise ValueError
        elif not isinstance(info["id"], str) or not 1 <= int(info["max_tokens"]) <= 100_000:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a text encoder's encoder.json; build or fetch the pack again") from None
    return info


def _read_tokenizer(path: Path) -> Tokenizer:
    data = _read_small(path)
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception:  # the tokenizers package raises the bare Exception
        raise InputError(f"{path} is not a tokenizer file; build or fetch the pack again") from None
    if tokenizer.normalizer is None:
        raise InputError(f"{path} has no normalizer; a text encoder's tokenizer has one")
    return tokenizer


def _read_small(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path} has {path.stat().st_size} bytes; expected at most {MAX_JSON_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); a text encoder has {', '.join(FILES)}") from None
