/* Prepares random frames with every kernel of this processor: same_frames MODEL.tflite FRAMES. Prints the kernels that
 * gave other bytes than the reference; exits 1 where there are any.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t2m.h"

enum { SIDE = 400, BYTES = 4 * SIDE * SIDE };

static uint32_t pick(uint32_t below) { return (uint32_t)rand() % below; }

int main(int count, char **words) {
  static const char *const names[] = {"avx2", "avx512-vnni", "neon", "neon-dotprod"};
  static uint8_t file[1 << 24] __attribute__((aligned(16))), planes[3][BYTES];
  FILE *stream = count == 3 ? fopen(words[1], "rb") : NULL;
  if (!stream) return 2;
  size_t size = fread(file, 1, sizeof file, stream), arena_size;
  fclose(stream);
  t2m_model *model;
  if (t2m_arena_size(file, size, NULL, &arena_size)) return 2;
  if (t2m_open(&model, file, size, NULL, aligned_alloc(16, arena_size), arena_size)) return 2;
  size_t bytes = (size_t)t2m_height(model) * t2m_width(model) * 3u;
  uint8_t *expected = malloc(bytes);
  int differ = 0;
  for (int i = 0; i < 3 * BYTES; i++) planes[i / BYTES][i % BYTES] = (uint8_t)(rand() >> 7);
  for (int i = atoi(words[2]); i > 0; i--) {
    t2m_frame frame;
    memset(&frame, 0, sizeof frame);
    frame.format = (t2m_format)pick(T2M_FORMAT_COUNT);
    frame.yuv = (t2m_yuv)pick(T2M_YUV_COUNT);
    frame.rotation = 90 * pick(4);
    frame.width = 1 + pick(SIDE);
    frame.height = 1 + pick(SIDE);
    for (int k = 0; k < 3; k++) frame.plane[k] = (t2m_plane){planes[k], BYTES, 0, pick(4) ? 0 : 4};
    frame.plane[2].step = frame.plane[1].step;
    t2m_set_kernels(model, "reference");
    if (t2m_prepare(model, &frame)) return 2;
    memcpy(expected, t2m_input(model), bytes);
    for (size_t k = 0; k < sizeof names / sizeof names[0]; k++) {
      if (t2m_set_kernels(model, names[k])) continue;
      t2m_prepare(model, &frame);
      if (!memcmp(expected, t2m_input(model), bytes)) continue;
      printf("%s: format %d, %u x %u, turned by %u\n", names[k], frame.format, frame.width, frame.height, frame.rotation);
      differ = 1;
    }
  }
  return differ;
}
