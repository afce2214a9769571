/* Any bytes as a head file, swapped into a real model: the file named by T2M_FUZZ_MODEL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t2m.h"

int LLVMFuzzerInitialize(int *count, char ***words);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static t2m_model *model;

int LLVMFuzzerInitialize(int *count, char ***words) {
  (void)count;
  (void)words;
  const char *path = getenv("T2M_FUZZ_MODEL");
  FILE *stream = path ? fopen(path, "rb") : NULL;
  if (!stream) {
    fprintf(stderr, "set T2M_FUZZ_MODEL to a compiled .tflite\n");
    exit(2);
  }
  static uint8_t file[1 << 24] __attribute__((aligned(16)));
  size_t size = fread(file, 1, sizeof file, stream), arena_size;
  fclose(stream);
  t2m_room room = {64, 64, 64};
  if (t2m_arena_size(file, size, &room, &arena_size)) exit(2);
  if (t2m_open(&model, file, size, &room, malloc(arena_size), arena_size)) exit(2);
  memset(t2m_input(model), 7, (size_t)t2m_height(model) * t2m_width(model) * 3u);
  t2m_run(model);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t *file = malloc(size ? size : 1);
  memcpy(file, data, size);
  if (!t2m_swap_head(model, file, size)) {
    t2m_class top[3];
    bool rejected;
    char name[T2M_LABEL_BYTES];
    for (uint32_t i = 0; i < t2m_label_count(model); i++) t2m_label(model, i, name, sizeof name);
    if (!t2m_run(model)) t2m_top(model, top, 3, NULL, &rejected);
    t2m_swap_head(model, NULL, 0);
  }
  free(file);
  return 0;
}
