"""Optional packages: checked before the work, so that a missing one is a line that says how to get it."""

from __future__ import annotations

from importlib.util import find_spec

from t2m_runtime.errors import InputError

MODULES = {"train": "torch", "study": "torch", "convert": "litert_torch", "clip": "open_clip"}


def need_extra(extra: str, purpose: str) -> None:
    """Checks that an extra of this package is installed.

    Args:
        extra: train, study, convert or clip.
        purpose: what needs it, for the message.

    Raises:
        InputError: it is missing; the message has the pip line.
    """
    if find_spec(MODULES[extra]) is None:
        raise InputError(f'{purpose} needs {MODULES[extra]}, which is not installed; pip install "t2m-edge[{extra}]"')
