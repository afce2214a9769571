"""This machine, with every engine that is installed in this Python."""

from __future__ import annotations

from pathlib import Path

from t2m_bench.local import measure
from t2m_bench.machine import Machine, State, machine, state
from t2m_bench.meters import open_meter
from t2m_bench.request import Measured, Request
from t2m_bench.subject import load
from t2m_runtime.errors import InputError


class LocalDevice:
    """devices/__init__.py says what a device is."""

    name, unit, rests, lacks = "local", "ms", False, ()

    def check(self, requests: list[Request]) -> None:
        """Loads every model with its engine once, so that a broken one is found before the first is measured."""
        threads = max(r.threads for r in requests)
        for engine, model in sorted({(r.engine or "", m) for r in requests for m in r.models}):
            subject = load(Path(model), engine or None, 1)
            subject.close()
            if not engine and subject.engine.startswith("core ") and threads > 1:
                raise InputError(f"the only engine here is the C core, which runs on one thread; leave out {threads}")
        for name in {r.meter for r in requests if r.meter}:
            open_meter(name)

    def machine(self) -> Machine:
        """This machine's facts."""
        return machine()

    def measure(self, request: Request) -> tuple[list[Measured], State, State]:
        """In a new process."""
        before = state()
        return measure(request), before, state()
