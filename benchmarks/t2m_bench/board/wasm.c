/* The C core for the browser: one model, one camera frame, each kind of work a call of its own (browser/core.mjs). */
#include "t2m.h"

#define EXPORT(name) __attribute__((export_name(name)))
#define FRAME_WIDTH 640u
#define FRAME_HEIGHT 480u

extern uint8_t __heap_base;

static uintptr_t next;
static t2m_model *model;
static t2m_frame frame;

/* Memory for a file or an arena, aligned to 16; it is never given back. */
EXPORT("take") void *take(size_t size) {
  if (!next) next = (uintptr_t)&__heap_base;
  uintptr_t start = (next + 15u) & ~(uintptr_t)15u;
  next = start + size;
  size_t have = __builtin_wasm_memory_size(0) * 65536u;
  if (next > have && __builtin_wasm_memory_grow(0, (next - have + 65535u) / 65536u) == (size_t)-1) return NULL;
  return (void *)start;
}

/* Opens the model of size bytes at file; 0 or a t2m_status. */
EXPORT("load") int load(const void *file, size_t size) {
  const t2m_room room = {0, 0, FRAME_WIDTH};
  size_t arena_size;
  t2m_status status = t2m_arena_size(file, size, &room, &arena_size);
  if (status) return (int)status;
  void *arena = take(arena_size);
  if (!arena) return T2M_ERROR_ARENA_TOO_SMALL;
  frame.format = T2M_RGBA;
  frame.width = FRAME_WIDTH;
  frame.height = FRAME_HEIGHT;
  frame.plane[0].size = FRAME_WIDTH * FRAME_HEIGHT * 4u;
  uint8_t *pixels = take(frame.plane[0].size);
  if (!pixels) return T2M_ERROR_ARENA_TOO_SMALL;
  for (size_t i = 0; i < frame.plane[0].size; i++) pixels[i] = (uint8_t)(i * 31u >> 3);
  frame.plane[0].data = pixels;
  return (int)t2m_open(&model, file, size, &room, arena, arena_size);
}

EXPORT("run") int run(void) { return (int)t2m_run(model); }

EXPORT("prepare") int prepare(void) { return (int)t2m_prepare(model, &frame); }

EXPORT("frame") int classify(void) {
  t2m_class top[3];
  t2m_status status = t2m_prepare(model, &frame);
  if (!status) status = t2m_run(model);
  return (int)(status ? status : t2m_top(model, top, 3, NULL, NULL));
}

EXPORT("kernels") const char *kernels(void) { return t2m_kernels(model); }
