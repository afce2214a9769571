"""Fields of a manifest's JSON, read as from a stranger: every reader raises InputError with what is wrong."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

from t2m_runtime.errors import InputError

MAX_MANIFEST_BYTES = 4 * 2**20
SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def parse_object(text: str | bytes) -> dict[str, Any]:
    """A JSON object of at most MAX_MANIFEST_BYTES; bytes are UTF-8."""
    if len(text) > MAX_MANIFEST_BYTES:
        raise InputError(f"the manifest has {len(text)} bytes; expected at most {MAX_MANIFEST_BYTES}")
    try:
        if not isinstance(text, str):
            text = bytes(text).decode("utf-8")
        body = json.loads(text, parse_int=_parse_integer, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the manifest is not JSON ({str(error)[:200]}); make the artifact again") from error
    if not isinstance(body, dict):
        raise InputError("the manifest is not a JSON object; make the artifact again")
    return body


def _parse_integer(digits: str) -> int:
    # int() takes quadratic time on long numbers.
    if len(digits) > 20:
        raise ValueError("a number has more than 20 digits")
    return int(digits)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def field(body: dict[str, Any], key: str, read: Callable[[Any], Any]) -> Any:
    """``read`` of the value under a key; what it raises names the key."""
    if key not in body:
        raise InputError(f"the manifest has no {key!r}; make the artifact again")
    try:
        return read(body[key])
    except InputError as error:
        raise InputError(f"the manifest's {key!r} {error}; make the artifact again") from None


def require(condition: bool, key: str, problem: str) -> None:
    """Raises InputError that names the key unless the condition holds."""
    if not condition:
        raise InputError(f"the manifest's {key!r} {problem}")


def json_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError("is not a JSON object")
    return value


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise InputError("is not a text")
    return value


def integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError("is not a whole number")
    return value


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError("is not true or false")
    return value


def number(value: Any) -> float:
    """A finite one."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError("is not a finite number")
    return float(value)


def number_or_none(value: Any) -> float | None:
    return None if value is None else number(value)


def list_of(read: Callable[[Any], Any], most: int) -> Callable[[Any], tuple]:
    """A reader of lists of at most ``most`` items, each read by ``read``."""

    def read_list(value: Any) -> tuple:
        if not isinstance(value, list):
            raise InputError("is not a list")
        if len(value) > most:
            raise InputError(f"has {len(value)} items, more than {most}")
        return tuple(read(item) for item in value)

    return read_list
