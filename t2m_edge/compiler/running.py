"""A call in a thread of its own, for work that an engine does outside Python's lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


@contextmanager
def running(call: Callable[[], Result]) -> Iterator[Callable[[], Result]]:
    """Starts a call; gives a function that waits for it and returns or raises what it did. Leaving waits, too."""
    results: list[Result] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()

    def result() -> Result:
        thread.join()
        for error in errors:
            raise error
        return results[0]

    try:
        yield result
    finally:
        thread.join()
