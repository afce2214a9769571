/* Any bytes as a model: opened, run, asked for everything, with a head swapped out and in. */
#include <stdlib.h>
#include <string.h>

#include "t2m_engines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static t2m_status answer(void *context, const uint8_t *image, size_t image_size, float *scores, uint32_t count) {
  (void)context;
  for (uint32_t i = 0; i < count; i++) scores[i] = image_size ? image[0] : 0;
  return T2M_OK;
}

/* The same file for an engine: of a .tflite or an .onnx the core reads the manifest only. */
static void try_engine(const uint8_t *file, size_t size) {
  const t2m_engine engine = {"none", answer, NULL};
  t2m_room room = {0, 0, 64};
  size_t arena_size;
  t2m_model *model;
  t2m_class top[2];
  bool rejected;
  char name[T2M_LABEL_BYTES];
  if (t2m_engine_arena_size(file, size, &room, &arena_size) || arena_size > 1u << 17) return;
  uint8_t *arena = malloc(arena_size);
  if (!t2m_open_engine(&model, &engine, file, size, &room, arena, arena_size) && !t2m_run(model)) {
    t2m_top(model, top, 2, NULL, &rejected);
    t2m_label(model, 0, name, sizeof name);
    t2m_present(model, 0, &rejected);
  }
  free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  size_t arena_size;
  t2m_model *model;
  /* Exactly as long as it is: the sanitizer sees every byte beyond. aligned_alloc wants a multiple, malloc gives 16. */
  uint8_t *file = malloc(size ? size : 1);
  memcpy(file, data, size);
  try_engine(file, size);
  t2m_room room = {20, 8, 64};
  if (!t2m_arena_size(file, size, &room, &arena_size) && arena_size < 1u << 17) {
    uint8_t *arena = malloc(arena_size);
    memset(arena, 0xA5, arena_size);
    if (!t2m_open(&model, file, size, &room, arena, arena_size)) {
      t2m_class top[5];
      uint32_t count = 0;
      bool rejected;
      char name[T2M_LABEL_BYTES];
      memset(t2m_input(model), 0x5A, (size_t)t2m_height(model) * t2m_width(model) * 3u);
      if (!t2m_run(model) && !t2m_top(model, top, 5, &count, &rejected))
        for (uint32_t i = 0; i < count; i++) {
          t2m_label(model, top[i].index, name, sizeof name);
          t2m_present(model, top[i].index, &rejected);
        }
      t2m_swap_head(model, NULL, 0);
      t2m_label(model, 0, name, 3);
    }
    free(arena);
  }
  free(file);
  return 0;
}
