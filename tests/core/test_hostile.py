"""Bytes from outside: refused with a status, never read beyond. Run under sanitizers where the compiler has them."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest

DRIVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "t2m.h"

static uint8_t *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  uint8_t *data = malloc(*size);
  if (fread(data, 1, *size, file) != *size) exit(3);
  fclose(file);
  return data;
}

/* Opens and runs a model; the status. The copy is exactly as long as it says, for the sanitizer to see. */
static t2m_status try_model(const uint8_t *data, size_t size, const uint8_t *head, size_t head_size) {
  uint8_t *copy = malloc(size + 1);
  memcpy(copy, data, size);
  size_t needed;
  t2m_model *model;
  t2m_room room = {64, 64, 64};
  t2m_status status = t2m_arena_size(copy, size, &room, &needed);
  if (!status && needed < 1u << 24) {
    uint8_t *arena = malloc(needed);
    memset(arena, 0xA5, needed);
    status = t2m_open(&model, copy, size, &room, arena, needed);
    if (!status) {
      memset(t2m_input(model), 99, (size_t)t2m_height(model) * t2m_width(model) * 3);
      if (head) status = t2m_swap_head(model, head, head_size);
      if (!status) {
        t2m_class top[3];
        uint32_t count = 0;
        bool rejected;
        char name[T2M_LABEL_BYTES];
        t2m_status ran = t2m_run(model);
        if (!ran && t2m_label_count(model)) t2m_top(model, top, 3, &count, &rejected);
        for (uint32_t i = 0; i < count; i++) t2m_label(model, top[i].index, name, sizeof name);
      }
    }
    free(arena);
  }
  free(copy);
  return status;
}

int main(int count, char **words) {
  size_t size, head_size = 0;
  uint8_t *data = read_file(words[2], &size), *head = count > 3 ? read_file(words[3], &head_size) : NULL;
  if (try_model(data, size, head, head_size)) return 4;
  if (!strcmp(words[1], "truncate")) {
    uint8_t *subject = head ? head : data;
    size_t whole = head ? head_size : size;
    for (size_t length = 0; length < whole; length++) {
      uint8_t *part = malloc(length ? length : 1);
      memcpy(part, subject, length);
      t2m_status status = head ? try_model(data, size, part, length) : try_model(part, length, NULL, 0);
      free(part);
      if (!status) {
        printf("accepted at %zu of %zu bytes\n", length, whole);
        return 5;
      }
    }
  } else {
    /* Damage: a few random bytes a time, at random places and in the first and last kilobyte, where the tables are. */
    unsigned seed = 1;
    for (int round = 0; round < atoi(words[1]); round++) {
      uint8_t *subject = head ? head : data, saved[4];
      size_t whole = head ? head_size : size, at[4];
      for (int i = 0; i < 4; i++) {
        seed = seed * 1664525u + 1013904223u;
        size_t span = whole < 1500 || i == 3 ? whole : 1500;
        at[i] = (seed >> 8) % span;
        if (i == 2) at[i] = whole - 1 - at[i];
        saved[i] = subject[at[i]];
        subject[at[i]] = round % 3 ? (uint8_t)(seed >> 4) : (uint8_t)(saved[i] ^ (1u << (seed >> 28 & 7)));
      }
      try_model(data, size, head, head_size);
      for (int i = 3; i >= 0; i--) subject[at[i]] = saved[i];
    }
  }
  printf("done\n");
  return 0;
}
"""


@pytest.fixture(scope="module")
def driver(tools, tmp_path_factory):
    """A program that tries damaged files, with whatever sanitizers the compiler has."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "driver.c").write_text(DRIVER)
    sanitizers = ["-g", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]
    for flags in (sanitizers, []):
        try:
            return tools.build(folder / "driver", *flags, str(folder / "driver.c"))
        except subprocess.CalledProcessError:
            continue
    pytest.skip("the C compiler cannot build programs")


@pytest.fixture(scope="module")
def small(tools) -> tuple[bytes, bytes]:
    """A small classifier of a few kilobytes, and a head file for it."""
    import dataclasses

    from t2m_exporters.graph import Conv, Graph, L2Normalize, Mean
    from t2m_exporters.quantize import quantize_graph, quantize_head
    from t2m_exporters.tflite import append_head_tflite, write_backbone_tflite
    from t2m_runtime.artifact import save_head
    from t2m_runtime.head import Head, Layer
    from t2m_runtime.manifest import InputSpec, Manifest, OutputSpec, PackRef

    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (5, 3, 3, 3)).astype(np.float32)
    nodes = (Conv("c", "image", weight, np.zeros(5, np.float32), 2, True), Mean("m", "c"), L2Normalize("u", "m"))
    graph = Graph((6, 6, 3), (128.0,) * 3, (128.0,) * 3, nodes, "u")
    quantized = quantize_graph(graph, rng.integers(0, 256, (4, 6, 6, 3), np.uint8))
    layers = tuple(
        Layer(rng.normal(0, 1, shape).astype(np.float32), np.zeros(shape[0], np.float32)) for shape in ((4, 5), (3, 4))
    )
    head = quantize_head(Head(("a", 'b"é', "c"), layers), rng.integers(-128, 128, (9, 5)).astype(np.int8), 1 / 128)
    manifest = Manifest(
        schema_version=1,
        name="small",
        labels=head.labels,
        thresholds=(0.5, None, 0.25),
        target="tflite",
        precision="int8",
        input=InputSpec(height=6, width=6),
        output=OutputSpec(),
        pack=PackRef("test", "1", "0" * 64),
        backbone_sha256="0" * 64,
        tool_version="0.1.0",
    )
    model = append_head_tflite(write_backbone_tflite(quantized), head, manifest)
    return model, save_head(head, dataclasses.replace(manifest, target="head"))


def run(driver, folder, mode: str, model: bytes, head: bytes | None = None) -> None:
    (folder / "model").write_bytes(model)
    words = [str(driver), mode, str(folder / "model")]
    if head is not None:
        (folder / "head").write_bytes(head)
        words.append(str(folder / "head"))
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=900, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-3000:]


def test_a_model_cut_anywhere_is_refused(driver, small, tmp_path):
    run(driver, tmp_path, "truncate", small[0])


def test_a_head_cut_anywhere_is_refused(driver, small, tmp_path):
    run(driver, tmp_path, "truncate", *small)


@pytest.mark.parametrize("subject", ["model", "head"])
def test_damaged_files_are_never_read_beyond(driver, small, tmp_path, subject):
    run(driver, tmp_path, "2000", small[0], small[1] if subject == "head" else None)


@pytest.mark.slow
def test_the_compiled_example_cut_anywhere_in_its_tables_is_refused(driver, compiled, tmp_path):
    run(driver, tmp_path, "300", compiled["int8"])
