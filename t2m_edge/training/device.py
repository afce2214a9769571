"""Where training runs: checked before the work begins."""

from __future__ import annotations

import torch

from t2m_runtime.errors import InputError

DEVICES = ("cpu", "cuda")


def set_up_torch(device: str, threads: int) -> None:
    """Checks that torch has the device and sets its number of CPU threads.

    Raises:
        InputError: no such device here, or no sensible number of threads.
    """
    if device not in DEVICES:
        raise InputError(f"the device is {device!r}; write one of {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("the device is cuda, and torch finds no CUDA device here; write cpu")
    if not 1 <= threads <= 1024:
        raise InputError(f"the number of threads is {threads}; give 1 or more")
    torch.set_num_threads(threads)
