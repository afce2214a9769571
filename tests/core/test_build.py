"""The core builds everywhere: without warnings, as two files, without a libc, for other machines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from t2m_runtime.arena import arena_size
from t2m_runtime.core import CoreModel

WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror"]
FREESTANDING = ["-ffreestanding", "-DT2M_OWN_MEMORY"]
CORTEX_M = {
    "cortex-m4": ("mps2-an386", "mps2.ld", ["-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]),
    "cortex-m7": ("mps2-an500", "mps2.ld", ["-mfloat-abi=hard", "-mfpu=fpv5-d16"]),
    "cortex-m55": ("mps3-an547", "mps3.ld", ["-mfloat-abi=hard"]),
}
LINUX = {
    "aarch64": ("aarch64-linux-gnu-gcc", "qemu-aarch64", ["cortex-a53", "cortex-a72", "cortex-a76"]),
    "armv7": ("arm-linux-gnueabihf-gcc", "qemu-arm", ["cortex-a7"]),
    "riscv64": ("riscv64-linux-gnu-gcc", "qemu-riscv64", ["rv64"]),
}


def need(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def run(*words: object, **options) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def refused(*words: object) -> str:
    """The one line of a program that ends with exit code 2."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and not done.stdout, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def amalgamation(tools, tmp_path_factory):
    folder = tmp_path_factory.mktemp("amalgamation")
    run(sys.executable, tools.CORE / "tools" / "amalgamate.py", folder)
    return folder


@pytest.fixture(scope="module")
def files(compiled, tmp_path_factory):
    """(folder, the three best names): model.tflite, picture.rgb and picture.rgba."""
    folder = tmp_path_factory.mktemp("files")
    picture = np.random.default_rng(1).integers(0, 256, (96, 96, 3), np.uint8)
    (folder / "model.tflite").write_bytes(compiled["int8"])
    (folder / "picture.rgb").write_bytes(picture.tobytes())
    opaque = np.concatenate([picture, np.full((96, 96, 1), 255, np.uint8)], 2)
    (folder / "picture.rgba").write_bytes(opaque.tobytes())
    return folder


@pytest.fixture(scope="module")
def best(library, compiled, files) -> list[tuple[str, float]]:
    picture = np.frombuffer((files / "picture.rgb").read_bytes(), np.uint8).reshape(96, 96, 3)
    with CoreModel(compiled["int8"], library=library) as core:
        core.run(picture)
        return [(core.labels[index], score) for index, score in core.top(3)[0]]


@pytest.mark.parametrize(
    "name", ["gcc", "clang", "aarch64-linux-gnu-gcc", "riscv64-linux-gnu-gcc", "arm-none-eabi-gcc"]
)
def test_two_files_build_without_warnings(amalgamation, name):
    need(name)
    flags = ["-std=c99", "-O2", "-ffp-contract=off", *WARNINGS, *FREESTANDING]
    run(name, *flags, "-c", amalgamation / "t2m.c", "-o", amalgamation / f"{name}.o")


def test_two_files_for_a_folder_that_cannot_be_written(tools, files):
    line = refused(sys.executable, tools.CORE / "tools" / "amalgamate.py", files / "model.tflite")
    assert line.startswith("error: cannot write to ")


def test_the_desktop_example_refuses_a_picture_of_another_size(tools, files, tmp_path):
    need("gcc")
    program = tools.build(
        tmp_path / "desktop", "-std=gnu11", str(tools.CORE / "examples" / "desktop.c"), command=["gcc"]
    )
    line = refused(program, files / "model.tflite", files / "picture.rgb", 95, 96)
    assert line.endswith("27648 bytes, and 95 x 96 pixels of RGB are 27360")


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_no_libc_function_is_called_and_no_memory_is_global(amalgamation, name):
    need(name, "nm", "size")
    target = amalgamation / f"free-{name}.o"
    run(name, "-std=c99", "-O2", "-fPIC", *FREESTANDING, "-c", amalgamation / "t2m.c", "-o", target)
    assert run("nm", "-u", target).replace("_GLOBAL_OFFSET_TABLE_", "").split() in ([], ["U"])
    text, _, bss = run("size", target).splitlines()[1].split()[:3]
    assert int(bss) == 0 and int(text) < 80_000


def test_code_for_a_cortex_m4_is_under_24_kb(amalgamation):
    need("arm-none-eabi-gcc", "arm-none-eabi-size")
    target, flags = amalgamation / "m4.o", ["-mcpu=cortex-m4", "-mthumb", *CORTEX_M["cortex-m4"][2]]
    run("arm-none-eabi-gcc", "-std=c99", "-Os", *flags, *FREESTANDING, "-c", amalgamation / "t2m.c", "-o", target)
    assert int(run("arm-none-eabi-size", target).splitlines()[1].split()[0]) <= 24 * 1024


def test_code_for_aarch64_with_all_kernels_is_under_48_kb(amalgamation):
    """With the unwind tables that compilers make unless told otherwise."""
    need("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-size")
    target = amalgamation / "a64.o"
    run("aarch64-linux-gnu-gcc", "-std=c99", "-O2", *FREESTANDING, "-c", amalgamation / "t2m.c", "-o", target)
    assert int(run("aarch64-linux-gnu-size", target).splitlines()[1].split()[0]) <= 48 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("machine", list(LINUX))
def test_other_processors_give_the_same_scores(tools, files, best, tmp_path, machine):
    compiler, emulator, processors = LINUX[machine]
    need(compiler, emulator)
    program = tools.build(
        tmp_path / "desktop", "-std=gnu11", "-static", str(tools.CORE / "examples" / "desktop.c"), command=[compiler]
    )
    for processor in processors:
        lines = run(emulator, "-cpu", processor, program, files / "model.tflite", files / "picture.rgb", 96, 96)
        expected = [f"{score:.4f}  {name}" for name, score in best]
        assert [line.strip() for line in lines.splitlines()[1:]] == expected, processor


@pytest.mark.slow
def test_the_kernels_of_aarch64_prepare_frames_as_the_reference_does(tools, files, tmp_path):
    compiler, emulator, processors = LINUX["aarch64"]
    need(compiler, emulator)
    source = str(Path(__file__).parent / "same_frames.c")
    program = tools.build(tmp_path / "same_frames", "-std=gnu11", "-static", source, command=[compiler])
    for processor in processors:
        run(emulator, "-cpu", processor, program, files / "model.tflite", 200)


@pytest.mark.slow
@pytest.mark.parametrize("processor", list(CORTEX_M))
def test_a_bare_cortex_m_gives_the_same_scores(tools, files, best, compiled, tmp_path, processor):
    need("arm-none-eabi-gcc", "qemu-system-arm")
    machine, layout, flags = CORTEX_M[processor]
    folder = tools.CORE / "examples" / "cortex-m"
    program = tools.build(
        tmp_path / "classify.elf",
        *(f"-mcpu={processor}", "-mthumb", *flags, "-Os", "-nostdlib", *FREESTANDING),
        *(f'-DMODEL="{files / "model.tflite"}"', f'-DPICTURE="{files / "picture.rgb"}"', "-DSIDE=96"),
        *("-T", str(folder / layout), str(folder / "main.c"), "-lgcc"),
        command=["arm-none-eabi-gcc"],
    )
    lines = run(
        *("qemu-system-arm", "-M", machine, "-display", "none", "-serial", "none", "-monitor", "none"),
        *("-chardev", "stdio,id=out", "-semihosting-config", "enable=on,target=native,chardev=out", "-kernel", program),
    ).splitlines()
    assert lines[0] == f"arena {arena_size(compiled['int8'])}"
    assert lines[1:] == [f"{int(score * 10000 + 0.5)} {name}" for name, score in best]


def test_webassembly_gives_the_same_scores(tools, files, best, tmp_path):
    need("clang", "wasm-ld", "node")
    folder = tools.CORE / "examples" / "wasm"
    program = tools.build(
        tmp_path / "t2m.wasm",
        *("--target=wasm32", "-msimd128", "-nostdlib", *FREESTANDING, "-Wl,--no-entry", str(folder / "t2m_wasm.c")),
        command=["clang"],
    )
    text = run("node", folder / "run.mjs", program, files / "model.tflite", files / "picture.rgba", 96, 96)
    found = [(item["name"], item["score"]) for item in json.loads(text)[:3]]
    assert [name for name, _ in found] == [name for name, _ in best]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in best], rtol=1e-6)

    (tmp_path / "cut.tflite").write_bytes((files / "model.tflite").read_bytes()[:5000])
    for model, picture, why in (
        (tmp_path / "cut.tflite", files / "picture.rgba", "the model is damaged or cut short"),
        (files / "picture.rgba", files / "picture.rgba", "not a .tflite file"),
        (files / "model.tflite", files / "picture.rgb", "planes are smaller"),
        (files / "model.tflite", tmp_path / "missing", "no such file"),
    ):
        assert why in refused("node", folder / "run.mjs", program, model, picture, 96, 96)
    assert "usage" in refused("node", folder / "run.mjs", program, files / "model.tflite")


@pytest.mark.slow
def test_cmake_installs_a_package_that_others_find(tools, tmp_path):
    need("cmake", "gcc")
    run("cmake", "-S", tools.CORE, "-B", tmp_path / "build", f"-DCMAKE_INSTALL_PREFIX={tmp_path / 'prefix'}")
    run("cmake", "--build", tmp_path / "build")
    run("cmake", "--install", tmp_path / "build")
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "main.c").write_text(
        "#include <t2m.h>\nint main(void) { return t2m_status_text(T2M_OK)[0] != 'd'; }\n"
    )
    (tmp_path / "user" / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(user C)\nfind_package(t2m 0.1 REQUIRED)\n"
        "add_executable(user main.c)\ntarget_link_libraries(user PRIVATE t2m::t2m)\n"
    )
    run("cmake", "-S", tmp_path / "user", "-B", tmp_path / "use", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}")
    run("cmake", "--build", tmp_path / "use")
    run(tmp_path / "use" / "user")


@pytest.mark.slow
def test_the_makefile_builds_library_and_example(tools, tmp_path):
    need("make", "gcc")
    shutil.copytree(tools.CORE, tmp_path / "c", ignore=shutil.ignore_patterns("build", "*.a"))
    run("make", "-C", tmp_path / "c", "CC=gcc", "CFLAGS=-O1 -Werror")
    assert (tmp_path / "c" / "build" / "desktop").exists()
    assert "-c src" not in run("make", "-C", tmp_path / "c", "CC=gcc", "CFLAGS=-O1 -Werror")
    # Objects of another build are not mixed in.
    run("make", "-C", tmp_path / "c", "CC=gcc", "CFLAGS=-O0", "OWN_MEMORY=1")
    assert " W memcpy\n" in run("nm", tmp_path / "c" / "libt2m.a")
