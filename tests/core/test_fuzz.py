"""The fuzz targets on their kept corpus, under sanitizers where the compiler has them."""

from __future__ import annotations

import os
import subprocess

import pytest

REPLAY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***words);

int main(int count, char **words) {
#ifdef HAS_START
  LLVMFuzzerInitialize(&count, &words);
#endif
  for (int i = 1; i < count; i++) {
    static uint8_t data[1 << 20];
    FILE *file = fopen(words[i], "rb");
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
  }
  return 0;
}
"""
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")


@pytest.mark.parametrize("subject", ["model", "head", "frame"])
def test_what_fuzzers_kept_is_stood(tools, tmp_path, subject):
    (tmp_path / "replay.c").write_text(REPLAY)
    folder = tools.CORE / "fuzz"
    words = [f"-I{tools.CORE / 'engines'}", "-DT2M_FUZZ", *(["-DHAS_START"] if subject != "model" else [])]
    files = [folder / f"fuzz_{subject}.c", tools.CORE / "engines" / "open.c", tmp_path / "replay.c"]
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
