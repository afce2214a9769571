"""Packs: everything needed to compile a task, in a folder or a zip of it."""

from t2m_edge.packs.pack import Pack, PackInfo, load_pack

__all__ = ["Pack", "PackInfo", "load_pack"]
