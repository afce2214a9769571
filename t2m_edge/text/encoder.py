"""What a text encoder is, and the pack's own one.

The own encoder is a bag of tokens (table row and weight per token, weighted mean, one hidden layer) that was taught by
larger text models; see t2m_edge/training/text_train.py. It does not see word order: "black on white" and
"white on black" get one vector, and "without" inside a sentence changes it hardly at all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
from tokenizers import Tokenizer

from t2m_edge.text.encoder_file import read_tensors
from t2m_edge.text.words import TaughtWords, split_words
from t2m_runtime.errors import InputError

SCHEMA_VERSION = 1
KINDS = ("bag", "sentence-transformers", "open-clip")
WORDS_KEPT = 65_536
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


class BagEncoder:
    """The pack's own encoder; numpy and tokenizers only.

    With token rows E (int8 with a scale a row), token weights w > 0, texts as token lists t (unknown tokens left out):

        m = sum_i w[t_i] E[t_i] / sum_i w[t_i]
        v = A m + B relu(C m + c) + b,   embedding = v / |v|

    Args:
        tokenizer: gives the token numbers.
        tensors: "table" int8 (n, e), "table_scale" float32 (n,), "token_weight" float32 (n,), "hidden" int8 (h, e),
            "hidden_scale" (h,), "hidden_bias" (h,), "linear" int8 (d, e + h) over [m, hidden], "linear_scale" (d,),
            "linear_bias" (d,), "taught_words" uint32 (any,).
        id: see TextEncoder.
        max_tokens: see TextEncoder.

    Raises:
        InputError: a tensor is missing, has another shape or dtype, or is not finite.
    """

    def __init__(self, tokenizer: Tokenizer, tensors: dict[str, np.ndarray], id: str, max_tokens: int):
        n, e, _, d = check_tensors(tensors)
        if tokenizer.get_vocab_size() != n:
            raise InputError(
                f"the tokenizer has {tokenizer.get_vocab_size()} tokens and the table {n}; use one encoder"
            )
        self.id = id
        self.d_text = d
        self.max_tokens = max_tokens
        self._tokenizer = tokenizer
        self._unknown = tokenizer.token_to_id("[UNK]")
        self._table = tensors["table"]
        self._weight = tensors["token_weight"]
        self._row_weight = tensors["token_weight"] * tensors["table_scale"]
        self._hidden = (tensors["hidden"] * tensors["hidden_scale"][:, None]).T
        self._hidden_bias = tensors["hidden_bias"]
        linear = tensors["linear"] * tensors["linear_scale"][:, None]
        self._linear, self._output = np.split(linear.T, [e])
        self._output_bias = tensors["linear_bias"]
        self._taught = TaughtWords(tensors["taught_words"])
        # The classes of a task share most of their words.
        self._known = lru_cache(maxsize=WORDS_KEPT)(self._knows)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), d_text), unit rows (a row of zeros for a text without any known token)."""
        tokens = [self._tokens(text) for text in texts]
        means = np.zeros((len(texts), self._table.shape[1]), np.float32)
        counts = np.array([len(ids) for ids in tokens])
        if counts.any():
            every = np.fromiter(chain.from_iterable(tokens), np.intp)
            # Where each text that has tokens begins.
            begins = (np.cumsum(counts) - counts)[counts > 0]
            sums = np.add.reduceat(self._row_weight[every, None] * self._table[every], begins)
            means[counts > 0] = sums / np.add.reduceat(self._weight[every], begins)[:, None]
        hidden = np.maximum(means @ self._hidden + self._hidden_bias, 0)
        vectors = means @ self._linear + hidden @ self._output + self._output_bias
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[counts == 0] = 0
        return vectors

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
    return BagEncoder(tokenizer, read_tensors(folder / "encoder.safetensors"), info["id"], info["max_tokens"])


def check_tensors(tensors: dict[str, np.ndarray]) -> tuple[int, int, int, int]:
    """(tokens, table width, hidden width, d_text) of a bag encoder's tensors; InputError where they do not fit."""
    try:
        (n, e), (h, _), (d, _) = tensors["table"].shape, tensors["hidden"].shape, tensors["linear"].shape
    except (KeyError, ValueError):
        raise InputError("the text encoder lacks the matrices table, hidden and linear; fetch the pack again") from None
    expected = {
        "table": ((n, e), np.int8), "table_scale": ((n,), np.float32), "token_weight": ((n,), np.float32),
        "hidden": ((h, e), np.int8), "hidden_scale": ((h,), np.float32), "hidden_bias": ((h,), np.float32),
        "linear": ((d, e + h), np.int8), "linear_scale": ((d,), np.float32), "linear_bias": ((d,), np.float32),
    }  # fmt: skip
    for name, (shape, dtype) in expected.items():
        tensor = tensors.get(name)
        if tensor is None or tensor.shape != shape or tensor.dtype != dtype or 0 in shape:
            found = "missing" if tensor is None else f"{tensor.dtype} {tensor.shape}"
            raise InputError(f"text encoder tensor {name} is {found}; expected {np.dtype(dtype)} {shape}")
        if dtype is np.float32 and not np.isfinite(tensor).all():
            raise InputError(f"text encoder tensor {name} holds values that are not finite; fetch the pack again")
    if not (tensors["token_weight"] > 0).all():
        raise InputError("text encoder tensor token_weight holds values that are not above 0; fetch the pack again")
    words = tensors.get("taught_words")
    if words is None or words.ndim != 1 or words.dtype != np.uint32:
        raise InputError("the text encoder has no list taught_words (uint32); fetch the pack again")
    return n, e, h, d


def _read_info(path: Path) -> dict:
    try:
        info = json.loads(_read_small(path))
        if info["schema_version"] != SCHEMA_VERSION or info["kind"] not in KINDS:
            raise InputError(
                f"{path} describes a text encoder of kind {info['kind']!r}, schema {info['schema_version']!r}; "
                f"expected {', '.join(KINDS)}, schema {SCHEMA_VERSION}: use a newer t2m-edge"
            )
        if info["kind"] != "bag":
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
