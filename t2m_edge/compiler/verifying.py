"""The self-test of a head file, which needs the pack that made it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from t2m_edge.packs import Pack, load_pack
from t2m_runtime import InputError, QuantizedHead, load_head
from t2m_runtime.self_test import HeadTest


def verify_head(head: str | Path, pack: str | Path | Pack = "default") -> tuple[float, float]:
    """Run a head file on the row of the feature bank that its self-test names.

    Returns:
        The largest difference to the stored logits, and the one that is tolerated.

    Raises:
        InputError: a broken head file, one without a self-test, or another pack's.
    """
    loaded, manifest = load_head(head)
    test = manifest.self_test
    if not isinstance(test, HeadTest):
        raise InputError(f"{head} carries no self-test; compile it again to get one")
    pack = pack if isinstance(pack, Pack) else load_pack(pack)
    if manifest.pack.sha256 != pack.ref.sha256:
        raise InputError(
            f"{head} was made by pack {manifest.pack.name} {manifest.pack.version} ({manifest.pack.sha256[:12]}), not "
            f"by {pack.info.name} {pack.info.version} ({pack.ref.sha256[:12]}); name it with --pack"
        )
    bank = pack.bank
    if test.bank_index >= len(bank.features):
        raise InputError(f"{head} tests row {test.bank_index} of a bank with {len(bank.features)}; compile it again")
    features = bank.features if isinstance(loaded, QuantizedHead) else bank.real
    logits = loaded.logits(features[test.bank_index : test.bank_index + 1])[0]
    return float(np.abs(logits.astype(np.float64) - np.array(test.expected)).max()), test.tolerance
