"""Values from a fixed list, with a proposal for a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from t2m_runtime.errors import InputError


def one_of(what: str, value: str, allowed: Sequence[str]) -> str:
    """The value, when it is allowed.

    Args:
        what: the option or thing, as the user knows it.
        value: what was given.
        allowed: what may be given.

    Raises:
        InputError: names the value, the nearest allowed one and all of them.
    """
    if value in allowed:
        return value
    near = difflib.get_close_matches(value.casefold()[:60], allowed, n=1)
    write = f"write {near[0]} (one of {', '.join(allowed)})" if near else f"write one of {', '.join(allowed)}"
    raise InputError(f"{what} is {value!r}; {write}")
