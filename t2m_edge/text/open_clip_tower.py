"""The text tower of an open_clip model as a text encoder; needs the extra `clip`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from t2m_edge.text.words import few_pieces, split_words
from t2m_runtime.errors import InputError

BATCH = 64


class OpenClipTower:
    """texts -> float32 (n, d_text), unit rows.

    Args:
        model: an architecture as open_clip names it, such as "ViT-B-32".
        pretrained: a tag that open_clip knows ("laion2b_s34b_b79k") or the path of a weights file.

    Raises:
        InputError: open_clip is not installed, or has no such model or weights.
    """

    def __init__(self, model: str, pretrained: str | None):
        try:
            import open_clip
        except ImportError:
            raise InputError(f"the text encoder {model!r} needs open_clip: pip install 't2m-edge[clip]'") from None
        if pretrained is None:
            raise InputError(f"the text encoder {model!r} names no weights; give pretrained, a tag or a file")
        try:
            self._model = open_clip.create_model(model, pretrained=pretrained).eval()
            self._tokenizer = open_clip.get_tokenizer(model)
        except Exception as error:  # the package raises errors of many libraries here
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"open_clip cannot load {model!r} with {pretrained!r}: {reason}") from None
        self.id = f"open-clip/{model}@{pretrained}"
        self.max_tokens = int(self._model.context_length)
        self.d_text = self.encode(["a photo"]).shape[1]

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (len(texts), d_text), unit rows."""
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(texts), BATCH):
                tokens = self._tokenizer(list(texts[start : start + BATCH]))
                parts.append(self._model.encode_text(tokens, normalize=True).float().numpy())
        return np.concatenate(parts)

    def words(self, text: str) -> list[tuple[str, bool]]:
        """The words of a text, each with whether the tokenizer seems to know it."""
        return [(word, few_pieces(word, len(self._tokenizer.encode(word)))) for word in split_words(text)]

    def token_count(self, text: str) -> int:
        """Number of tokens, the two special ones included, before any is cut off."""
        return len(self._tokenizer.encode(text)) + 2
