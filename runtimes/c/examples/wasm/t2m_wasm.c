/* The core for WebAssembly without a runtime: memory in pages, handed out from the end of the program's own.
 *
 *     clang --target=wasm32 -O2 -msimd128 -nostdlib -ffreestanding -DT2M_OWN_MEMORY -ffp-contract=off -I../../include \
 *         -Wl,--no-entry t2m_wasm.c ../../src/[a-z]*.c -o t2m.wasm
 *
 * run.mjs shows the calls from JavaScript.
 */
#include "t2m.h"

#define EXPORT(name) __attribute__((export_name(name)))

extern uint8_t __heap_base;

static uintptr_t next;
static t2m_model *model;

/* Memory for a file or an arena, aligned to 16; it is never given back: make a new instance instead. */
EXPORT("t2m_take") void *t2m_take(size_t size) {
  if (!next) next = (uintptr_t)&__heap_base;
  uintptr_t start = (next + 15u) & ~(uintptr_t)15u;
  next = start + size;
  size_t have = __builtin_wasm_memory_size(0) * 65536u;
  if (next > have && __builtin_wasm_memory_grow(0, (next - have + 65535u) / 65536u) == (size_t)-1) return NULL;
  return (void *)start;
}

/* Opens the model of size bytes at file; 0 or a t2m_status. */
EXPORT("t2m_load") int t2m_load(const void *file, size_t size) {
  size_t arena_size;
  t2m_status status = t2m_arena_size(file, size, NULL, &arena_size);
  if (status) return (int)status;
  void *arena = t2m_take(arena_size);
  return arena ? (int)t2m_open(&model, file, size, NULL, arena, arena_size) : T2M_ERROR_ARENA_TOO_SMALL;
}

/* A t2m_status in English, with a NUL at its end. */
EXPORT("t2m_text") const char *t2m_text(int status) { return t2m_status_text((t2m_status)status); }

/* Classifies an RGBA picture of size bytes, as a canvas gives it; 0 or a t2m_status. */
EXPORT("t2m_classify") int t2m_classify(const uint8_t *pixels, size_t size, uint32_t width, uint32_t height) {
  t2m_frame frame;
  frame.format = T2M_RGBA;
  frame.yuv = T2M_BT601_FULL;
  frame.width = width;
  frame.height = height;
  frame.rotation = 0;
  frame.plane[0].data = pixels;
  frame.plane[0].size = size;
  frame.plane[0].stride = frame.plane[0].step = 0;
  t2m_status status = t2m_prepare(model, &frame);
  return (int)(status ? status : t2m_run(model));
}

EXPORT("t2m_count") uint32_t t2m_count(void) { return t2m_label_count(model); }

EXPORT("t2m_result") const float *t2m_result(void) { return t2m_scores(model); }

/* The label's text with a NUL at its end, in memory that the next call overwrites. */
EXPORT("t2m_name") const char *t2m_name(uint32_t index) {
  static char text[T2M_LABEL_BYTES];
  return t2m_label(model, index, text, sizeof text) ? NULL : text;
}
