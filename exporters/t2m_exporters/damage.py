"""What libraries raise over a damaged model, as one of our errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from t2m_runtime.errors import InputError


@contextlib.contextmanager
def damage() -> Iterator[None]:
    """Turns whatever the block raises into an InputError: schema modules, protobuf and zipfile check little."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError("the model is damaged or cut short; make it again") from error
