"""The two errors that the whole project raises on purpose."""

from __future__ import annotations


class InputError(ValueError):
    """What was given cannot be used: a file, an image, an argument. The command line exits with 2.

    The message is one line: what was given, what was expected, what to do next.
    """


class WorkError(RuntimeError):
    """The input was fine but the work failed: parity too low, an engine broke. The command line exits with 1."""
