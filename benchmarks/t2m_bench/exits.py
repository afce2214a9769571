"""How a module that is run by itself (python -m t2m_bench.NAME) ends: like the t2m-edge command."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from t2m_runtime.errors import InputError, WorkError


@contextmanager
def one_line() -> Iterator[None]:
    """Ends the process where the ``with`` raises: one line, and exit code 2 for bad input or 1 for failed work."""
    try:
        yield
    except (InputError, WorkError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 1)
