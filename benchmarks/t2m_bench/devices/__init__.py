"""Where models are measured: this machine, a board over ssh, a phone over adb, an emulator that counts, a browser.

A device is an object with

    name, unit        as the user wrote it; "ms" or "instructions"
    rests             whether it needs rest between runs: phones and boards slow down when they grow hot
    lacks             fields of a plan that it cannot measure (head, profile, photos); a suite leaves them out there
    check(...)        reaches it and refuses what it cannot measure, before anything is measured
    machine()         its facts
    measure(request)  what it measured for each model, and its state before and after

Errors are InputError: a device that cannot be reached or used is not the work's failure.
"""

from __future__ import annotations

from typing import Protocol

from t2m_bench.machine import Machine, State
from t2m_bench.request import Measured, Request
from t2m_runtime.errors import InputError


class Device(Protocol):
    """What the module's text says."""

    name: str
    unit: str
    rests: bool
    lacks: tuple[str, ...]

    def check(self, requests: list[Request]) -> None:
        """Reaches the device and refuses what it cannot measure.

        Raises:
            InputError: one line that says what is missing and how to get it.
        """
        ...

    def machine(self) -> Machine:
        """Its facts; after check."""
        ...

    def measure(self, request: Request) -> tuple[list[Measured], State, State]:
        """What it measured for each of the request's models, and its state before and after."""
        ...


def open_device(text: str) -> Device:
    """A device by the text of --device.

    Raises:
        InputError: there is no such kind of device.
    """
    kind, _, rest = text.partition(":")
    if text == "local":
        from t2m_bench.devices.local import LocalDevice

        return LocalDevice()
    if kind in ("ssh", "adb") and rest and not rest.startswith("-"):
        from t2m_bench.devices.board import adb_board, ssh_board

        return ssh_board(rest) if kind == "ssh" else adb_board(rest)
    if kind == "qemu" and rest:
        from t2m_bench.devices.qemu import QemuDevice

        return QemuDevice(rest)
    if text == "browser":
        from t2m_bench.devices.browser import BrowserDevice

        return BrowserDevice()
    raise InputError(f"--device is {text!r}; give local, ssh:USER@HOST, adb:SERIAL, qemu:CPU or browser")
