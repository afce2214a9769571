"""What decides an artifact's bytes beside task, pack, options and our own version, as its manifest states it."""

from __future__ import annotations

import platform
from functools import lru_cache

import numpy as np
import tokenizers

WIDEST_FIRST = ("AVX512F", "AVX2", "AVX", "SVE", "ASIMD", "NEON", "VSX")
"""Vector instructions by which numpy and its BLAS choose their kernels, and with them the order of float sums."""


@lru_cache(maxsize=1)
def made_with() -> str:
    """Such as "numpy 2.4.6, tokenizers 0.23.3, x86_64 AVX2"."""
    widest = next((name for name in WIDEST_FIRST if _features().get(name)), "")
    processor = f"{platform.machine() or 'unknown processor'} {widest}".strip()
    return f"numpy {np.__version__}, tokenizers {tokenizers.__version__}, {processor}"


def _features() -> dict[str, bool]:
    """What numpy found of the processor; no public name gives it in all versions."""
    core = getattr(np, "_core", None) or np.core
    return getattr(getattr(core, "_multiarray_umath", None), "__cpu_features__", {})
