"""Text encoders: texts -> embeddings. The pack's own one needs numpy and tokenizers; the towers load when asked for."""

from __future__ import annotations

from t2m_edge.text.encoder import OwnEncoder, TextEncoder, load_text_encoder

__all__ = ["OwnEncoder", "TextEncoder", "load_text_encoder"]
