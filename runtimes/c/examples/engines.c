/* Classifies a raw RGB picture on LiteRT or ONNX Runtime: engines LIBRARY MODEL PICTURE.rgb WIDTH HEIGHT
 *
 * LIBRARY: libLiteRt.so for a .tflite, libonnxruntime.so for an .onnx. Prints the three best classes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "t2m_engines.h"

static void *read_file(const char *path, size_t *size) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  fseek(file, 0, SEEK_END);
  long length = ftell(file);
  rewind(file);
  void *data = length > 0 ? malloc((size_t)length) : NULL;
  *size = data ? fread(data, 1, (size_t)length, file) : 0;
  fclose(file);
  return data;
}

static int fail(const char *what, const char *why) {
  fprintf(stderr, "error: %s: %s\n", what, why);
  return 2;
}

int main(int count, char **words) {
  if (count != 6) {
    fprintf(stderr, "usage: %s LIBRARY MODEL PICTURE.rgb WIDTH HEIGHT\n", words[0]);
    return 2;
  }
  size_t size, picture_size, arena_size;
  void *file = read_file(words[2], &size), *picture = read_file(words[3], &picture_size);
  if (!file || !picture) return fail(file ? words[3] : words[2], "cannot be read");
  size_t width = strtoul(words[4], NULL, 10), height = strtoul(words[5], NULL, 10);
  if (picture_size != width * height * 3u) return fail(words[3], "not WIDTH x HEIGHT pixels of RGB, three bytes each");
  t2m_engine engine;
  char message[T2M_ENGINE_MESSAGE];
  size_t length = strlen(words[2]);
  bool is_onnx = length > 5 && strcmp(words[2] + length - 5, ".onnx") == 0;
  t2m_status status = is_onnx ? t2m_onnxruntime_engine(&engine, words[1], words[2], NULL, message)
                              : t2m_litert_engine(&engine, words[1], words[2], NULL, message);
  if (status) return fail(words[1], message);
  t2m_model *model;
  status = t2m_engine_arena_size(file, size, NULL, &arena_size);
  if (status) return fail(words[2], t2m_status_text(status));
  void *arena = aligned_alloc(T2M_ALIGNMENT, (arena_size + T2M_ALIGNMENT - 1u) / T2M_ALIGNMENT * T2M_ALIGNMENT);
  status = arena ? t2m_open_engine(&model, &engine, file, size, NULL, arena, arena_size) : T2M_ERROR_ARENA_TOO_SMALL;
  if (status) return fail(words[2], t2m_status_text(status));

  t2m_frame frame = {0};
  frame.format = T2M_RGB;
  frame.width = (uint32_t)width;
  frame.height = (uint32_t)height;
  frame.plane[0].data = picture;
  frame.plane[0].size = picture_size;
  t2m_class top[3];
  uint32_t found = 0;
  bool rejected;
  status = t2m_prepare(model, &frame);
  if (!status) status = t2m_run(model);
  if (!status) status = t2m_top(model, top, 3, &found, &rejected);
  if (status) return fail(words[2], t2m_status_text(status));
  printf("%s, %zu bytes of arena%s\n", t2m_kernels(model), arena_size, rejected ? ", none of these" : "");
  for (uint32_t i = 0; i < found; i++) {
    char name[T2M_LABEL_BYTES];
    t2m_label(model, top[i].index, name, sizeof name);
    printf("  %8.4f  %s\n", (double)top[i].score, name);
  }
  t2m_close_engine(&engine);
  free(arena);
  free(picture);
  free(file);
  return 0;
}
