"""Any sentence-transformers model as a text encoder; needs its package, which no base install has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from t2m_edge.text.words import few_pieces, split_words
from t2m_runtime.errors import InputError


class SentenceTower:
    """texts -> float32 (n, d_text), unit rows.

    Args:
        model: a model's folder, or its name as `sentence_transformers` knows it.
        revision: which version of a named model.

    Raises:
        InputError: sentence-transformers is not installed, or has no such model.
    """

    def __init__(self, model: str, revision: str | None = None):
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise InputError(
                f"the text encoder {model!r} needs sentence-transformers: pip install sentence-transformers"
            ) from None
        try:
            self._model = SentenceTransformer(model, revision=revision, device="cpu")
        except Exception as error:  # the package raises errors of many libraries here
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(
                f"sentence-transformers cannot load {model!r}: {reason}; give a folder or a name"
            ) from None
        self.id = f"sentence-transformers/{model}@{revision or 'unpinned'}"
        self.d_text = self.encode(["a photo"]).shape[1]
        self.max_tokens = int(self._model.max_seq_length)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), d_text), unit rows."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    def words(self, text: str) -> list[tuple[str, bool]]:
        """The words of a text, each with whether the model's tokenizer seems to know it."""
        tokenizer = self._model.tokenizer
        pieces = [(word, tokenizer.tokenize(word)) for word in split_words(text)]
        return [(word, tokenizer.unk_token not in found and few_pieces(word, len(found))) for word, found in pieces]

    def token_count(self, text: str) -> int:
        """Number of tokens before any is cut off."""
        return len(self._model.tokenizer(text, truncation=False)["input_ids"])
