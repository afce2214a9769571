"""A Linux board over ssh, or an Android phone over adb: a static program is sent there, run, and removed.

One remote command does it all: it makes a folder, unpacks what comes over standard input, and runs the program, which
removes everything from the disk before it measures. So nothing stays behind, wherever the connection breaks. The same
command reads the board's state right before and after: each connection costs a small board a second or more.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import shlex
import subprocess
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from t2m_bench.board.building import architecture_of, board_program
from t2m_bench.local import answer
from t2m_bench.machine import CHANGING, FIXED, Machine, State, machine_from, state_from
from t2m_bench.profiles import ROUNDS, core_profile
from t2m_bench.request import Measured, Request
from t2m_bench.subject import facts
from t2m_runtime.errors import InputError

FACTS_SECONDS = 30
NO_FOLDER, NO_UNPACK = 97, 98
PHOTO_BYTES = 32 * 2**20
"""Most bytes of photos that are sent at once: boards keep /tmp in memory."""

SHOWN = """
for f in {files}; do [ -r "$f" ] && echo "=== $f" && cat "$f" && echo; done 2>/dev/null; true
"""
FACTS = "uname -m; uname -sr; uname -n" + SHOWN
RUNS, ENDED = "=== it runs", "=== it ended"
UNPACKED = """
umask 077
for base in ${{TMPDIR:-/tmp}} /data/local/tmp /dev/shm /var/tmp "$HOME"; do
  d="$base/t2m-edge-$$"
  mkdir "$d" 2>/dev/null || {{ d=; continue; }}
  printf '#!/bin/sh\\nexit 0\\n' > "$d/try" 2>/dev/null && chmod 700 "$d/try" && "$d/try" 2>/dev/null && break
  rm -rf "$d"; d=
done
[ -n "$d" ] || exit {no_folder}
trap 'cd /; rm -rf "$d"' EXIT
trap 'exit 129' HUP INT TERM PIPE
cd "$d" && rm -f try && tar -xf - || exit {no_unpack}
show() {{ {show}
}}
show; echo; echo "{runs}"
{run}
status=$?
echo; echo "{ended}"; show
exit $status
"""


@dataclass(frozen=True)
class Transport:
    """How a shell command is run on the device: command, then the remote command as one word.

    Args:
        name: of the device, as the user wrote it.
        lost: exit status and words of stderr that mean that the connection, and not the remote command, failed.
        advice: what to check then.
    """

    name: str
    command: tuple[str, ...]
    lost_status: int | None = None
    lost_words: tuple[str, ...] = ()
    advice: str = "check the device"

    def run(self, script: str, send: bytes = b"", seconds: float = FACTS_SECONDS) -> subprocess.CompletedProcess:
        """Runs a script of a POSIX shell on the device; its output as text.

        Raises:
            InputError: the device cannot be reached, was lost, or did not answer in time.
        """
        words = [*self.command, f"exec sh -c {shlex.quote(script)}"]
        try:
            done = subprocess.run(words, input=send, capture_output=True, timeout=seconds)
        except FileNotFoundError:
            raise InputError(f"{self.name}: the program {self.command[0]} is not installed here") from None
        except subprocess.TimeoutExpired:
            raise InputError(
                f"{self.name} did not answer within {seconds:.0f} s; is it switched on and idle?"
            ) from None
        out, err = done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        if done.returncode == self.lost_status or (done.returncode and any(w in err for w in self.lost_words)):
            said = _last_line(err).removeprefix("error: ") or "the connection was lost"
            raise InputError(f"{self.name}: {said}; {self.advice}")
        return subprocess.CompletedProcess(words, done.returncode, out, err)


def ssh_board(target: str) -> Board:
    """ssh:USER@HOST or ssh:USER@HOST:PORT; keys, hosts and jumps are those of the user's ssh configuration.

    $T2M_SSH is the command to use instead of ssh, with its options.
    """
    host, _, port = target.rpartition(":") if re.search(r":\d+$", target) else (target, "", "")
    options = ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3", "LogLevel=ERROR"]
    try:
        ssh = shlex.split(os.environ.get("T2M_SSH") or "ssh")
    except ValueError as error:
        raise InputError(f"$T2M_SSH is no command ({error}); write ssh and its options") from None
    command = [*ssh, "-T", *(f"-o{option}" for option in options)]
    at = ["-p", port] if port else []
    words = (*command, *at, "--", host)
    advice = f"check the device, and that {' '.join([ssh[0], *at, host])} logs in without a question"
    return Board(Transport(f"ssh:{target}", words, 255, advice=advice))


def adb_board(serial: str) -> Board:
    """adb:SERIAL, as `adb devices` lists it."""
    words = ("error: device", "error: no devices", "adb: device", "failed to connect", "error: closed", "unauthorized")
    advice = "check the cable, and that `adb devices` lists it"
    return Board(Transport(f"adb:{serial}", ("adb", "-s", serial, "shell", "-T"), None, words, advice))


class Board:
    """devices/__init__.py says what a device is. The engine is the C core; with Python there, others by name."""

    unit, rests, lacks = "ms", True, ()

    def __init__(self, transport: Transport) -> None:
        self.name = transport.name
        self._transport = transport
        self._machine: Machine | None = None
        self._program: Path | None = None
        self._states: list[State] = []

    def check(self, requests: list[Request]) -> None:
        """Reaches the board, builds the program for it, and refuses models that the C core does not run."""
        self._machine, _ = self._look()
        for request in requests:
            if request.meter:
                raise InputError("--meter reads a meter of this machine; on boards there is none")
            if request.engine not in (None, "core"):
                self._find_package(request.engine)
                continue
            if request.threads != 1:
                raise InputError(f"the C core runs on one thread; --threads {request.threads} needs another --engine")
            for model in request.models:
                if not (found := facts(Path(model))).ours or found.kind != "tflite":
                    raise InputError(
                        f"{Path(model).name}: a board runs .tflite models of t2m-edge; or give an --engine"
                    )
        if any(r.engine in (None, "core") for r in requests):
            self._program = board_program(architecture_of(self._machine.architecture))

    def machine(self) -> Machine:
        """The board's facts."""
        return self._machine or self._look()[0]

    def measure(self, request: Request) -> tuple[list[Measured], State, State]:
        """Sends everything, runs it, and brings back what it printed."""
        self._states = []
        found = self._python(request) if request.engine not in (None, "core") else self._core(request)
        return found, self._states[0], self._states[-1]

    def _look(self) -> tuple[Machine, State]:
        done = self._transport.run(FACTS.format(files=_paths(FIXED, CHANGING)))
        lines = done.stdout.split("\n", 3)
        if done.returncode or len(lines) < 4:
            said = _last_line(f"{done.stderr}\n{done.stdout}") or "it said nothing; is it still connected?"
            raise InputError(f"{self.name}: its shell failed ({said})")
        found = _shown(lines[3])
        return machine_from(found, lines[2].strip(), lines[1].strip(), lines[0].strip()), state_from(found)

    def _core(self, request: Request) -> list[Measured]:
        files = {"board": (self._program or Path()).read_bytes()}
        words = [f"milliseconds={request.seconds * 1000:.0f}"]
        if request.profile:
            words.append(f"profile={ROUNDS}")
        if request.head:
            files["head"] = Path(request.head).read_bytes()
            words.append("head=head")
        names = [f"model{i}.tflite" for i in range(len(request.models))]
        files.update({name: Path(model).read_bytes() for name, model in zip(names, request.models)})
        found = self._run_program(files, [*words, *names], request.seconds * len(names))
        named = tuple(self._name_photos(request, files)) if request.photos else ()
        try:
            measured = [_measured(item, named if i == 0 else ()) for i, item in enumerate(found)]
            if request.profile:
                steps = core_profile(files[names[0]], [t / 1e9 for t in found[0]["profile"]])
                measured[0] = replace(measured[0], profile=steps.operators, profiler=steps.by)
            return measured
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError(f"{self.name}: its answer makes no sense; is something else printed there?") from None

    def _name_photos(self, request: Request, files: dict[str, bytes]) -> list[int]:
        """The first model's best labels; photos are sent in parts that fit into a board's memory."""
        import numpy as np

        photos = np.load(request.photos or "", mmap_mode="r")
        step = max(1, PHOTO_BYTES // photos[0].size)
        named: list[int] = []
        few = {name: files[name] for name in ("board", "model0.tflite")}
        for start in range(0, len(photos), step):
            part = photos[start : start + step]
            words = ["milliseconds=0", "photos=photos", "model0.tflite"]
            named += self._run_program({**few, "photos": part.tobytes()}, words, 1 + len(part))[0]["named"]
        return named

    def _run_program(self, files: dict[str, bytes], words: list[str], seconds: float) -> list[dict[str, Any]]:
        # What it needs is in its memory by then; a folder is removed when it is empty.
        removed = [f'remove="$d/{name}"' for name in files]
        run = " ".join(["./board", *map(shlex.quote, words), *removed, 'remove="$d"'])
        done = self._send(files, run, seconds)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise InputError(f"{self.name} was lost while it measured; {self._transport.advice}") from None

    def _send(self, files: dict[str, bytes], run: str, seconds: float) -> subprocess.CompletedProcess:
        show = SHOWN.format(files=_paths(CHANGING))
        words = {"no_folder": NO_FOLDER, "no_unpack": NO_UNPACK, "runs": RUNS, "ended": ENDED}
        done = self._transport.run(UNPACKED.format(run=run, show=show, **words), _tar(files), 60 + 5 * seconds)
        before, _, rest = done.stdout.partition(f"\n{RUNS}\n")
        done.stdout, _, after = rest.partition(f"\n{ENDED}\n")
        self._states += [state_from(_shown(text)) for text in (before, after)]
        said = _last_line(done.stderr)
        if done.returncode == NO_FOLDER:
            raise InputError(f"{self.name}: no folder there may be written to and run from; free /tmp or $HOME")
        if done.returncode == NO_UNPACK:
            size = sum(map(len, files.values())) / 1e6
            raise InputError(f"{self.name}: {size:.1f} MB cannot be unpacked there ({said}); free some space")
        if done.returncode == 126 or "xec format" in done.stderr:
            kind = self.machine().architecture
            raise InputError(f"{self.name}: the program for {kind} does not start there ({said})")
        if done.returncode == 137:
            raise InputError(f"{self.name}: the program was killed there: too little memory, or somebody ended it")
        if done.returncode and not done.stdout.strip():
            raise InputError(f"{self.name}: {said or f'the program ended with status {done.returncode}'}")
        return done

    def _find_package(self, engine: str) -> None:
        """Whether the board's Python has an engine, numpy and Pillow."""
        package = {"onnxruntime": "onnxruntime", "tflite_runtime": "tflite_runtime"}.get(engine, "ai_edge_litert")
        done = self._transport.run(f"python3 -c 'import numpy, PIL, {package}'")
        if done.returncode:
            said = _last_line(done.stderr)
            raise InputError(
                f"{self.name}: engine {engine} needs Python with numpy, pillow and {package} there ({said}); "
                "without --engine the C core runs with nothing installed"
            )

    def _python(self, request: Request) -> list[Measured]:
        """The same process as on this machine, with this package's own files sent along."""
        import t2m_bench
        import t2m_runtime

        files = {}
        for package in (t2m_bench, t2m_runtime):
            folder = Path(package.__file__ or "").parent
            for path in sorted(folder.rglob("*.py")):
                files[f"{folder.name}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
        fields = {"head": request.head, "photos": request.photos}
        fields = {key: value for key, value in fields.items() if value}
        names = [f"model{i}{Path(model).suffix}" for i, model in enumerate(request.models)]
        files.update({key: Path(value).read_bytes() for key, value in fields.items()})
        files.update({name: Path(model).read_bytes() for name, model in zip(names, request.models)})
        asked = {**request.__dict__, "models": names, **{key: key for key in fields}}
        run = f"python3 -m t2m_bench.local {shlex.quote(json.dumps(asked))}"
        done = self._send(files, run, 60 + request.seconds * len(names))
        return answer(done.returncode, done.stdout, done.stderr, Path(request.models[0]).name)


def _paths(*patterns: tuple[str, ...]) -> str:
    return " ".join(f"/{pattern}" for pattern in dict.fromkeys(itertools.chain(*patterns)))


def _shown(text: str) -> dict[str, str]:
    """What SHOWN printed: path without its first slash -> text."""
    parts = re.split(r"^=== /(.*)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2]))


def _measured(found: dict[str, Any], named: tuple[int, ...]) -> Measured:
    """From the program's nanoseconds and kB."""

    def seconds(key: str) -> tuple[float, ...]:
        return tuple(t / 1e9 for t in found.get(key, ()))

    return Measured(
        engine=found["engine"],
        load=found["load"] / 1e9,
        first=found["first"] / 1e9,
        runs=seconds("runs"),
        blocks=seconds("blocks"),
        prepare=seconds("prepare"),
        frame=seconds("frame"),
        swap=seconds("swap"),
        named=named,
        memory={"peak": found["peak_kb"] / 1024, "arena": found["arena"]},
    )


def _tar(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in files.items():
            item = tarfile.TarInfo(name)
            item.size, item.mode = len(data), 0o700
            tar.addfile(item, io.BytesIO(data))
    return made.getvalue()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
