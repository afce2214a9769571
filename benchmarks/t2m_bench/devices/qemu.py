"""Exact instruction counts of the C core on processors that are not here, by qemu: they repeat, and are no times.

Cortex-A: the board program under qemu-user. Cortex-M: a bare-metal program on an emulated MPS2 or MPS3 board. A qemu
plugin counts; what one inference takes is the difference of two programs, one of which does it four times more.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from t2m_bench.board.building import (
    HERE,
    board_program,
    cache_folder,
    compile_aside,
    core_folder,
    core_includes,
    host_compiler,
    profiled_core,
)
from t2m_bench.machine import Machine, State
from t2m_bench.profiles import core_steps
from t2m_bench.request import Measured, Request
from t2m_bench.subject import facts
from t2m_runtime.arena import arena_size
from t2m_runtime.errors import InputError, WorkError

TIMES = 4
ROOM, ARENA = {"mps2.ld": 3_900_000, "mps3.ld": 64_000_000}, 2 << 20
"""Bytes of a model that a board's program has room for, and of its arena (bare.c)."""
REPEATS = 2
SECONDS = 600


@dataclass(frozen=True)
class Processor:
    """emulator: the qemu program; architecture: of the board program; board, script, flags: of a Cortex-M."""

    emulator: str
    architecture: str
    board: str = ""
    script: str = ""
    flags: tuple[str, ...] = ()


def _m(board: str, script: str, architecture: str, *flags: str) -> Processor:
    return Processor("qemu-system-arm", architecture, board, script, ("-mthumb", "-mfloat-abi=hard", *flags))


PROCESSORS = {
    **{f"cortex-{a}": Processor("qemu-aarch64", "aarch64") for a in ("a53", "a57", "a72", "a76")},
    **{f"cortex-{a}": Processor("qemu-arm", "armv7") for a in ("a7", "a8", "a9", "a15")},
    "cortex-m4": _m("mps2-an386", "mps2.ld", "armv7e-m", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"),
    "cortex-m7": _m("mps2-an500", "mps2.ld", "armv7e-m", "-mcpu=cortex-m7", "-mfpu=fpv5-d16"),
    "cortex-m55": _m("mps3-an547", "mps3.ld", "armv8.1-m", "-mcpu=cortex-m55"),
}


class QemuDevice:
    """devices/__init__.py says what a device is.

    Args:
        cpu: as qemu names it: cortex-a72.

    Raises:
        InputError: none that is counted on here.
    """

    unit, rests = "instructions", False

    def __init__(self, cpu: str) -> None:
        if cpu not in PROCESSORS:
            raise InputError(f"--device qemu:{cpu[:60]}: give one of {', '.join(PROCESSORS)}")
        self.name, self._cpu, self._processor = f"qemu:{cpu}", cpu, PROCESSORS[cpu]
        self.lacks = ("photos", "head") if self._processor.board else ("photos",)
        self._engine = "core reference gcc"

    def check(self, requests: list[Request]) -> None:
        """Finds the emulator and compilers, and refuses what only a real device can do."""
        if not shutil.which(self._processor.emulator):
            package = "qemu-system-arm" if self._processor.board else "qemu-user"
            raise InputError(f"{self.name} needs {self._processor.emulator}: apt-get install {package}")
        for request in requests:
            if request.engine not in (None, "core") or request.threads != 1:
                raise InputError(f"{self.name} counts the C core on one thread; leave --engine and --threads out")
            if request.photos or request.meter or len(request.models) > 1:
                raise InputError(f"{self.name} only counts: leave --baseline, --photos and --meter out")
            if request.head and self._processor.board:
                raise InputError(f"{self.name} counts no head swap; leave --head out")
            if not (found := facts(Path(request.models[0]))).ours or found.kind != "tflite":
                raise InputError(f"{Path(request.models[0]).name}: the C core runs .tflite models of t2m-edge")
            if self._processor.board:
                self._fits(Path(request.models[0]), found.size_bytes)
        self._plugin = _plugin()
        if not self._processor.board:
            self._program = board_program(self._processor.architecture)
        elif not shutil.which("arm-none-eabi-gcc"):
            raise InputError(f"{self.name} needs arm-none-eabi-gcc: apt-get install gcc-arm-none-eabi")

    def _fits(self, model: Path, size: int) -> None:
        room, arena = ROOM[self._processor.script], arena_size(model.read_bytes())
        if size > room or arena > ARENA:
            raise InputError(
                f"{model.name}: {size / 1e6:.1f} MB with {arena / 1e6:.1f} MB of memory; the board of {self.name} has "
                f"{room / 1e6:.1f} and {ARENA / 1e6:.1f}; take cortex-m55, or a Cortex-A"
            )

    def machine(self) -> Machine:
        """The emulated processor."""
        done = subprocess.run([self._processor.emulator, "--version"], capture_output=True, text=True)
        version = re.search(r"version (\S+)", done.stdout)
        return Machine(
            name=self._cpu,
            system=f"qemu {version[1] if version else ''}".strip(),
            architecture=self._processor.architecture,
            processor=self._cpu,
            cores=1,
            memory_mb=None,
        )

    def measure(self, request: Request) -> tuple[list[Measured], State, State]:
        """Counts each kind of work twice over."""
        kinds = ["load", "run", "prepare", "frame"] + (["swap"] if request.head else [])
        with tempfile.TemporaryDirectory() as folder:
            command = self._bare(request, Path(folder)) if self._processor.board else self._user(request)
            counts = {kind: tuple(self._difference(command, kind) for _ in range(REPEATS)) for kind in kinds}
            data = Path(request.models[0]).read_bytes()
            profile = self._profile(command, core_steps(data)) if request.profile else ()
        measured = Measured(
            engine=self._engine,
            load=counts["load"][0],
            first=counts["run"][0],
            runs=counts["run"],
            blocks=counts["run"],
            prepare=counts["prepare"],
            frame=counts["frame"],
            swap=counts.get("swap", ()),
            profile=profile,
            profiler="the C core, each step counted" if profile else None,
            memory={"arena": arena_size(data)},
        )
        return [measured], State(), State()

    def _profile(self, command: list[str], names: list[tuple[str, str]]) -> tuple[tuple[str, str, float], ...]:
        """Each step: what one step more takes."""
        counts = [self._count([w.format(what=f"steps{n}", times=1) for w in command]) for n in range(len(names) + 1)]
        return tuple((*name, float(b - a)) for name, a, b in zip(names, counts, counts[1:], strict=False))

    def _difference(self, command: list[str], kind: str) -> float:
        more, less = (self._count([w.format(what=kind, times=n) for w in command]) for n in (TIMES, 0))
        return (more - less) / TIMES

    def _count(self, command: list[str]) -> int:
        with tempfile.NamedTemporaryFile("r") as log:
            words = [command[0], "-plugin", str(self._plugin), "-d", "plugin", "-D", log.name, *command[1:]]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
            except subprocess.TimeoutExpired:
                raise WorkError(f"{self.name} did not end within {SECONDS} s") from None
            found = re.search(r"instructions (\d+)", log.read())
        if "plugin" in done.stderr and not found:
            raise InputError(f"this {command[0]} takes no plugins; Debian 12's qemu-user (not -static) does")
        if done.returncode or not found:
            said = (done.stdout + done.stderr).strip().splitlines()
            raise InputError(f"{self.name}: {said[-1][:200] if said else f'status {done.returncode}'}")
        if named := re.search(r'"engine": "([^"]+)"', done.stdout):
            self._engine = named[1]  # with the compiler, whose code is what is counted
        return int(found[1])

    def _user(self, request: Request) -> list[str]:
        head = [f"head={request.head}"] if request.head else []
        words = [self._processor.emulator, "-cpu", self._cpu, str(self._program), "count={what}", "times={times}"]
        return [*words, *(w.replace("{", "{{").replace("}", "}}") for w in [*head, request.models[0]])]

    def _bare(self, request: Request, folder: Path) -> list[str]:
        program = folder / "bare.elf"
        model = folder / "model.tflite"  # a path without quotes and spaces, for the compiler's macro
        shutil.copy(request.models[0], model)
        command = ["arm-none-eabi-gcc", *self._processor.flags, "-std=c11", "-Os", "-ffp-contract=off", "-nostdlib"]
        command += ["-ffreestanding", "-DT2M_OWN_MEMORY", f'-DMODEL="{model}"', *core_includes()]
        command += ["-T", str(HERE / self._processor.script), str(HERE / "bare.c")]
        compile_aside([*command, *map(str, profiled_core()), "-lgcc"], program)
        words = [self._processor.emulator, "-M", self._processor.board, "-display", "none", "-serial", "none"]
        words += ["-monitor", "none", "-chardev", "stdio,id=out", "-semihosting-config"]
        words += ["enable=on,target=native,chardev=out,arg=bare,arg={what},arg={times}"]
        return [*words, "-kernel", str(program)]


def _plugin() -> Path:
    """The counting plugin, built once for this machine."""
    source = core_folder() / "tools" / "count_instructions.c"
    target = cache_folder() / f"count-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.so"
    if not target.is_file():
        compile_aside([*host_compiler(), "-O2", "-fPIC", "-shared", str(source)], target)
    return target
