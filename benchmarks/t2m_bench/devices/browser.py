"""A browser on this machine: headless Chromium runs the C core as WebAssembly on a page of a local server."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from t2m_bench.board.building import HERE, cache_folder, compile_aside, core_folder
from t2m_bench.machine import Machine, State, machine, state
from t2m_bench.request import Measured, Request
from t2m_bench.subject import facts
from t2m_runtime.errors import InputError

BROWSERS = ("chromium", "google-chrome", "chromium-browser", "chrome", "microsoft-edge")
START_SECONDS = 120
SCRIPT = HERE.parent / "browser" / "bench.mjs"
PAGE = b'<!doctype html><title>t2m-edge bench</title><script type="module" src="bench.mjs"></script>'


class BrowserDevice:
    """devices/__init__.py says what a device is. $T2M_BROWSER names a Chromium."""

    name, unit, rests = "browser", "ms", False

    def check(self, requests: list[Request]) -> None:
        """Finds Chromium and a compiler, and refuses what a page cannot do."""
        named = os.environ.get("T2M_BROWSER")
        self._browser = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
        if not self._browser:
            raise InputError("--device browser needs Chromium: apt-get install chromium, or name one with $T2M_BROWSER")
        for request in requests:
            if request.engine not in (None, "core") or request.threads != 1:
                raise InputError("the browser runs the C core on one thread; leave --engine and --threads out")
            if request.profile or request.photos or request.meter or request.head or len(request.models) > 1:
                raise InputError("the browser takes no --baseline, --photos, --head, --profile or --meter")
            if not (found := facts(Path(request.models[0]))).ours or found.kind != "tflite":
                raise InputError(f"{Path(request.models[0]).name}: the C core runs .tflite models of t2m-edge")
        self._core = wasm_core()
        self._agent = ""

    def machine(self) -> Machine:
        """This machine."""
        return machine()

    def measure(self, request: Request) -> tuple[list[Measured], State, State]:
        """On a page of its own, in a fresh profile."""
        before = state()
        found = self._on_page(request)
        if "error" in found:
            raise InputError(f"{Path(request.models[0]).name} in the browser: {found['error']}")
        version = re.search(r"Chrome/(\d+)", found["agent"])

        def seconds(key: str) -> tuple[float, ...]:
            return tuple(t / 1e3 for t in found[key])

        measured = Measured(
            engine=f"core {found['kernels']}, Chromium {version[1] if version else '?'}",
            load=found["load"] / 1e3,
            first=found["first"] / 1e3,
            runs=seconds("runs"),
            blocks=seconds("blocks"),
            prepare=seconds("prepare"),
            frame=seconds("frame"),
            memory={"peak": found["memory"] / 2**20},
        )
        return [measured], before, state()

    def _on_page(self, request: Request) -> dict[str, Any]:
        files = {
            "/": ("text/html", PAGE),
            "/bench.mjs": ("text/javascript", SCRIPT.read_bytes()),
            "/core.wasm": ("application/wasm", self._core.read_bytes()),
            "/model.tflite": ("application/octet-stream", Path(request.models[0]).read_bytes()),
        }
        answer: list[bytes] = []
        arrived = threading.Event()
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(files, answer, arrived))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/?seconds={request.seconds}"
        flags = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
        if os.getuid() == 0:
            flags.append("--no-sandbox")  # Chromium's sandbox does not start for root
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = [str(self._browser), *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", address]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                came = arrived.wait(START_SECONDS + 2 * request.seconds)
            finally:
                child.terminate()
                child.wait()
                server.shutdown()
                server.server_close()
        if not came:
            raise InputError(f"{self._browser} gave no answer; does it start here by itself?")
        return json.loads(answer[0])


def _handler(
    files: dict[str, tuple[str, bytes]], answer: list[bytes], arrived: threading.Event
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Gives the page its files, and takes what it found."""

        def do_GET(self) -> None:
            kind, data = files.get(self.path.split("?")[0], ("", b""))
            self.send_response(200 if kind else 404)
            # An isolated page has a clock of 5 instead of 100 microseconds.
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            answer.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()
            arrived.set()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def wasm_core() -> Path:
    """The core as WebAssembly with SIMD, built once.

    Raises:
        InputError: no compiler.
    """
    core = core_folder()
    sources = [HERE / "wasm.c", *sorted((core / "src").glob("*.c"))]
    if importlib.util.find_spec("ziglang"):
        command = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding", "-mcpu=generic+simd128"]
    elif shutil.which("clang") and shutil.which("wasm-ld"):
        command = ["clang", "--target=wasm32", "-msimd128"]
    else:
        raise InputError('--device browser needs a C compiler once: pip install "t2m-edge[board]", or clang and lld')
    flags = [
        "-std=c11",
        "-O2",
        "-nostdlib",
        "-ffreestanding",
        "-DT2M_OWN_MEMORY",
        "-ffp-contract=off",
        "-Wl,--no-entry",
    ]
    digest = hashlib.sha256(" ".join([*command, *flags]).encode())
    for path in [*sources, *sorted((core / "src").glob("*.h")), core / "include" / "t2m.h"]:
        digest.update(path.read_bytes())
    target = cache_folder() / f"core-{digest.hexdigest()[:16]}.wasm"
    if not target.is_file():
        compile_aside([*command, *flags, f"-I{core / 'include'}", *map(str, sources)], target)
    return target
