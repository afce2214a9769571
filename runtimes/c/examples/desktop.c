/* Classifies a raw RGB picture: desktop MODEL.tflite PICTURE.rgb WIDTH HEIGHT [RUNS]
 *
 * Prints the three best classes. With RUNS it runs the model that many more times, to be timed from outside.
 */
#include <stdio.h>
#include <stdlib.h>

#include "t2m.h"

/* A whole file, aligned as the core wants it. */
static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  long length = ftell(file);
  rewind(file);
  void *data = length > 0 ? aligned_alloc(T2M_ALIGNMENT, ((size_t)length + 15u) / 16u * 16u) : NULL;
  *size = data ? fread(data, 1, (size_t)length, file) : 0;
  fclose(file);
  return data;
}

static int fail(const char *what, t2m_status status) {
  fprintf(stderr, "error: %s: %s\n", what, t2m_status_text(status));
  return status == T2M_ERROR_NOT_FINITE ? 1 : 2;
}

int main(int count, char **words) {
  if (count != 5 && count != 6) {
    fprintf(stderr, "usage: %s MODEL.tflite PICTURE.rgb WIDTH HEIGHT [RUNS]\n", words[0]);
    return 2;
  }
  size_t model_size, picture_size, arena_size;
  void *file = read_file(words[1], &model_size), *picture = read_file(words[2], &picture_size);
  if (!file || !picture) {
    fprintf(stderr, "error: cannot read %s\n", file ? words[2] : words[1]);
    return 2;
  }
  size_t width = strtoul(words[3], NULL, 10), height = strtoul(words[4], NULL, 10);
  if (picture_size != width * height * 3u) {
    fprintf(stderr, "error: %s: %zu bytes, and %zu x %zu pixels of RGB are %zu\n", words[2], picture_size, width, height,
            width * height * 3u);
    return 2;
  }
  t2m_status status = t2m_arena_size(file, model_size, NULL, &arena_size);
  if (status) return fail(words[1], status);
  void *arena = aligned_alloc(T2M_ALIGNMENT, arena_size);
  t2m_model *model;
  status = arena ? t2m_open(&model, file, model_size, NULL, arena, arena_size) : T2M_ERROR_ARENA_TOO_SMALL;
  if (status) return fail(words[1], status);

  t2m_frame frame = {0};
  frame.format = T2M_RGB;
  frame.width = (uint32_t)width;
  frame.height = (uint32_t)height;
  frame.plane[0].data = picture;
  frame.plane[0].size = picture_size;
  /* To be timed from outside: what a run costs does not depend on the picture. */
  for (long i = count == 6 ? strtol(words[5], NULL, 10) : 0; i > 0 && !status; i--) status = t2m_run(model);
  if (!status) status = t2m_prepare(model, &frame);
  if (status) return fail(words[2], status);
  status = t2m_run(model);
  if (status) return fail(words[1], status);

  t2m_class top[3];
  uint32_t found;
  bool rejected;
  status = t2m_top(model, top, 3, &found, &rejected);
  if (status) return fail(words[1], status);
  printf("%s kernels, %zu bytes of arena%s\n", t2m_kernels(model), arena_size, rejected ? ", none of these" : "");
  for (uint32_t i = 0; i < found; i++) {
    char name[T2M_LABEL_BYTES];
    t2m_label(model, top[i].index, name, sizeof name);
    printf("  %8.4f  %s\n", (double)top[i].score, name);
  }
  free(arena);
  free(picture);
  free(file);
  return 0;
}
