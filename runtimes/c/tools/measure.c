/* What frames and heads cost beside an inference, in CPU time, one after the other in turn:
 *
 *     cc -O2 -ffp-contract=off -Iinclude tools/measure.c src/[a-z]*.c -o build/measure
 *     build/measure MODEL.tflite [ROUNDS [HEAD.t2mh]]
 *
 * Prints medians: one inference, a 640 x 480 NV21 frame to the model's input for each rotation as a part of it, and a
 * swap of the head.
 */
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "t2m.h"

enum { WIDTH = 640, HEIGHT = 480, MOST = 10000, KINDS = 6, RUN = 4, SWAP = 5 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void *read_file(const char *path, size_t *size) {
  static uint8_t files[2][1 << 24] __attribute__((aligned(T2M_ALIGNMENT)));
  static int count;
  FILE *stream = fopen(path, "rb");
  if (!stream) {
    fprintf(stderr, "error: cannot read %s\n", path);
    exit(2);
  }
  *size = fread(files[count], 1, sizeof files[0], stream);
  fclose(stream);
  return files[count++];
}

static void check(t2m_status status) {
  if (status) {
    fprintf(stderr, "error: %s\n", t2m_status_text(status));
    exit(2);
  }
}

int main(int count, char **words) {
  static double times[KINDS][MOST];
  static uint8_t luma[WIDTH * HEIGHT], chroma[WIDTH * HEIGHT / 2];
  size_t size, head_size = 0, arena_size;
  t2m_model *model;
  t2m_room room = {10000, 256, 0};
  int rounds = count > 2 ? atoi(words[2]) : 200;
  if (count < 2 || count > 4 || rounds < 1 || rounds > MOST) {
    fprintf(stderr, "usage: measure MODEL.tflite [ROUNDS [HEAD.t2mh]]; at most %d rounds\n", MOST);
    return 2;
  }
  void *file = read_file(words[1], &size), *head = count > 3 ? read_file(words[3], &head_size) : NULL;
  check(t2m_arena_size(file, size, &room, &arena_size));
  void *arena = aligned_alloc(T2M_ALIGNMENT, arena_size);
  check(t2m_open(&model, file, size, &room, arena, arena_size));
  srand(1);
  for (size_t i = 0; i < sizeof luma; i++) luma[i] = (uint8_t)rand();
  for (size_t i = 0; i < sizeof chroma; i++) chroma[i] = (uint8_t)rand();
  for (int i = 0; i < rounds; i++) {
    for (uint32_t turn = 0; turn < 4; turn++) {
      t2m_frame frame = {.format = T2M_NV21, .width = WIDTH, .height = HEIGHT, .rotation = 90 * turn};
      frame.plane[0] = (t2m_plane){luma, sizeof luma, 0, 0};
      frame.plane[1] = (t2m_plane){chroma, sizeof chroma, 0, 0};
      double start = now();
      check(t2m_prepare(model, &frame));
      times[turn][i] = now() - start;
    }
    double start = now();
    check(t2m_run(model));
    times[RUN][i] = now() - start;
    start = now();
    check(t2m_swap_head(model, head, head_size));
    times[SWAP][i] = now() - start;
  }
  for (int kind = 0; kind < KINDS; kind++) qsort(times[kind], (size_t)rounds, sizeof(double), by_size);
  double run = times[RUN][rounds / 2];
  printf("%s: %.0f us an inference\n", t2m_kernels(model), run);
  for (int turn = 0; turn < 4; turn++) printf("frame turned by %3d: %.3f of it\n", 90 * turn, times[turn][rounds / 2] / run);
  printf("head swap: %.1f us (least %.1f)\n", times[SWAP][rounds / 2], times[SWAP][0]);
  return 0;
}
