"""The fuzz targets on their kept corpus, under sanitizers where the compiler has them."""

from __future__ import annotations

import os
import subprocess

import pytest

SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


@pytest.mark.parametrize("subject", ["model", "head", "frame"])
def test_what_fuzzers_kept_is_stood(tools, tmp_path, subject):
    folder = tools.CORE / "fuzz"
    words = [f"-I{tools.CORE / 'engines'}", "-DT2M_FUZZ", *(["-DHAS_START"] if subject != "model" else [])]
    files = [folder / f"fuzz_{subject}.c", tools.CORE / "engines" / "open.c", folder / "replay.c"]
    for flags in (SANITIZERS, ()):
        try:
            program = tools.build(tmp_path / "replay", "-std=c11", *flags, *words, *(str(file) for file in files))
            break
        except subprocess.CalledProcessError:
            continue
    else:
        pytest.skip("the C compiler cannot build programs")
    environment = {
        **os.environ,
        "T2M_FUZZ_MODEL": str(folder / "corpus" / "model" / "wide-int8"),
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    corpus = sorted(str(path) for path in (folder / "corpus" / subject).iterdir())
    done = subprocess.run([str(program), *corpus], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
