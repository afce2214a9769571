"""A browser on this machine: headless Chromium measures models on a page of a local server.

The engine is the C core as WebAssembly, or by name LiteRT.js or onnxruntime-web, which are npm packages.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from t2m_bench.board.building import HERE
from t2m_bench.devices.web_engines import PACKAGES, find_package, import_map, version_of, wasm_core
from t2m_bench.machine import Machine, State, machine, state
from t2m_bench.request import Measured, Request
from t2m_bench.subject import facts
from t2m_runtime.errors import InputError

BROWSERS = ("chromium", "google-chrome", "chromium-browser", "chrome", "microsoft-edge")
START_SECONDS = 120
SCRIPTS = HERE.parent / "browser"
PAGE = """<!doctype html><title>t2m-edge bench</title><body><script type="importmap">{imports}</script>
<script type="module" src="bench.mjs"></script>"""
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}


class BrowserDevice:
    """devices/__init__.py says what a device is. $T2M_BROWSER names a Chromium."""

    name, unit, rests, lacks = "browser", "ms", False, ("head", "profile", "photos")

    def check(self, requests: list[Request]) -> None:
        """Finds Chromium and the engines, and refuses what a page cannot do."""
        named = os.environ.get("T2M_BROWSER")
        self._browser = next(filter(None, map(shutil.which, [named] if named else BROWSERS)), None)
        if named and not self._browser:
            raise InputError(f"$T2M_BROWSER is {named}, which is no program; name a Chromium")
        if not self._browser:
            raise InputError("--device browser needs Chromium: apt-get install chromium, or name one with $T2M_BROWSER")
        for request in requests:
            if request.profile or request.photos or request.meter or request.head or len(request.models) > 1:
                raise InputError("the browser takes no --baseline, --photos, --head, --profile or --meter")
            model = Path(request.models[0])
            if (engine := _engine(request)) != "core":
                if engine not in PACKAGES:
                    raise InputError(f"the browser runs core, {', '.join(PACKAGES)}, not {engine}")
                find_package(engine)
                continue
            if request.threads != 1:
                raise InputError(f"the C core runs on one thread; --threads {request.threads} needs another --engine")
            if not (found := facts(model)).ours or found.kind != "tflite":
                raise InputError(f"{model.name}: the C core runs .tflite models of t2m-edge; give another --engine")
            wasm_core()

    def machine(self) -> Machine:
        """This machine."""
        return machine()

    def measure(self, request: Request) -> tuple[list[Measured], State, State]:
        """On a page of its own, in a fresh profile."""
        before = state()
        found = self._on_page(request)
        if "error" in found:
            said = " ".join(str(found["error"]).split())[:300]
            raise InputError(f"{Path(request.models[0]).name} in the browser: {said}")
        version = re.search(r"Chrome/(\d+)", found["agent"])

        def seconds(key: str) -> tuple[float, ...]:
            return tuple(t / 1e3 for t in found[key])

        measured = Measured(
            engine=f"{found['engine']}, Chromium {version[1] if version else '?'}",
            load=found["load"] / 1e3,
            first=found["first"] / 1e3,
            runs=seconds("runs"),
            blocks=seconds("blocks"),
            prepare=seconds("prepare"),
            frame=seconds("frame"),
            memory={"peak": found["memory"] / 2**20} if found["memory"] else None,
        )
        return [measured], before, state()

    def _on_page(self, request: Request) -> dict[str, Any]:
        engine = _engine(request)
        imports = json.dumps({"imports": import_map(engine)})
        site = _Site({"/": ("text/html", PAGE.format(imports=imports).encode())})
        site.files["/model"] = ("application/octet-stream", Path(request.models[0]).read_bytes())
        version = ""
        if engine == "core":
            site.files["/core.wasm"] = ("application/wasm", wasm_core().read_bytes())
        else:
            site.modules = find_package(engine)
            version = version_of(engine, site.modules)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = f"engine={engine}&version={version}&seconds={request.seconds}&threads={request.threads}"
        address = f"http://127.0.0.1:{server.server_address[1]}/?{asked}"
        flags = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
        if os.getuid() == 0:
            flags.append("--no-sandbox")  # Chromium's sandbox does not start for root
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = [str(self._browser), *flags, f"--user-data-dir={profile}", "--remote-debugging-port=0", address]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                deadline = time.monotonic() + START_SECONDS + 2 * request.seconds
                while not site.arrived.wait(0.2) and child.poll() is None and time.monotonic() < deadline:
                    pass
            finally:
                child.terminate()
                child.wait()
                server.shutdown()
                server.server_close()
        if not site.answer:
            ended = "" if child.returncode is None or child.returncode < 0 else f" and ended with {child.returncode}"
            raise InputError(f"{self._browser} gave no answer{ended}; does it start here by itself?")
        return json.loads(site.answer)


def _engine(request: Request) -> str:
    """By default the core, where it runs the model."""
    if request.engine:
        return request.engine
    found = facts(Path(request.models[0]))
    if found.kind == "onnx":
        return "onnxruntime"
    return "core" if found.ours else "litert"


@dataclass
class _Site:
    """What the page may fetch, by path, and what it answered. modules: a node_modules folder, shown as /modules/."""

    files: dict[str, tuple[str, bytes]]
    modules: Path | None = None
    answer: bytes = b""
    arrived: threading.Event = field(default_factory=threading.Event)

    def file(self, path: str) -> tuple[str, bytes] | None:
        if path in self.files:
            return self.files[path]
        folder, name = SCRIPTS, path.lstrip("/")
        if path.startswith("/modules/") and self.modules:
            folder, name = self.modules, path.removeprefix("/modules/")
        found = folder / name
        if ".." in name or found.suffix not in TYPES or not found.is_file():
            return None
        return TYPES[found.suffix], found.read_bytes()


def _handler(site: _Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Gives the page its files, and takes what it found."""

        def do_GET(self) -> None:
            kind, data = site.file(self.path.split("?")[0]) or ("", b"")
            self.send_response(200 if kind else 404)
            # An isolated page has a clock of 5 instead of 100 microseconds, and threads.
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_POST(self) -> None:
            site.answer = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()
            site.arrived.set()

        def log_message(self, *_: object) -> None:
            pass

    return Handler
