"""The x86-64 kernels on processors that this machine need not be: bare metal in bochs."""

from __future__ import annotations

import shutil
import struct
import subprocess

import numpy as np
import pytest

FLAGS = ["-std=gnu11", "-O2", "-ffreestanding", "-fno-pic", "-no-pie", "-mno-red-zone", "-DT2M_OWN_MEMORY"]
EVERYTHING, NO_AVX512 = 0xE7, 0x07
CONFIGURATION = """
display_library: term
cpu: model={processor}
megs: 256
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
ata0-master: type=disk, path={folder}/disk.img, mode=flat, cylinders=20, heads=16, spt=63
boot: disk
port_e9_hack: enabled=1
log: {folder}/log.txt
"""


def run_in_bochs(tools, folder, models: list[bytes], processor: str, saved: int) -> list[str]:
    """Lines of main.c."""
    for program in ("bochs", "gcc", "ld"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    items = (struct.pack("<I12x", len(model)) + model + bytes(-len(model) % 16) for model in models)
    (folder / "models.bin").write_bytes(b"".join(items) + bytes(16))
    here = tools.CORE.parents[1] / "tests" / "core" / "x86"
    program = tools.build(
        folder / "program",
        *(*FLAGS, "-nostdlib", "-static"),
        *("-T", str(here / "program.ld"), "-Wl,--oformat=binary", "-Wl,--build-id=none"),
        *(f'-DMODELS="{folder / "models.bin"}"', str(here / "main.c")),
        command=["gcc"],
    ).read_bytes()
    sectors = f"-DSECTORS={len(program) // 512 + 1}"
    boot = ["gcc", "-m32", "-c", sectors, f"-DSAVED={saved}", str(here / "boot.S"), "-o", str(folder / "boot.o")]
    subprocess.run(boot, check=True)
    link = ["ld", "-m", "elf_i386", "-Ttext=0x7c00", "--oformat", "binary", "-o", folder / "boot", folder / "boot.o"]
    subprocess.run(link, check=True)
    (folder / "disk.img").write_bytes(((folder / "boot").read_bytes() + program).ljust(20 * 16 * 63 * 512, b"\0"))
    (folder / "bochsrc").write_text(CONFIGURATION.format(processor=processor, folder=folder))
    (folder / "commands").write_text("continue\nquit\n")
    done = subprocess.run(
        ["bochs", "-q", "-f", str(folder / "bochsrc"), "-rc", str(folder / "commands")],
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        env={"TERM": "xterm", "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        timeout=500,
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    found = [index for index, line in enumerate(lines) if line.startswith("best ")]
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return lines[found[0] :]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processor", "saved", "best"),
    [
        ("tigerlake", EVERYTHING, "avx512-vnni"),
        ("tigerlake", NO_AVX512, "avx2"),
        ("corei7_skylake_x", EVERYTHING, "avx2"),
        ("corei7_haswell_4770", EVERYTHING, "avx2"),
        ("core2_penryn_t9600", EVERYTHING, "reference"),
    ],
)
def test_a_processor_takes_its_best_kernels_and_they_are_bit_equal(tools, compiled, tmp_path, processor, saved, best):
    count = 300 if best == "avx512-vnni" else 5
    models = [tools.backbone_bytes(np.random.default_rng(seed), int8=True) for seed in range(count)]
    lines = run_in_bochs(tools, tmp_path, [compiled["int8"], *models], processor, saved)
    print(*lines, sep="\n")
    assert lines[0] == f"best {best}"
    assert any(line.startswith(f"{count + 1} models") and line.endswith("features equal") for line in lines), lines
