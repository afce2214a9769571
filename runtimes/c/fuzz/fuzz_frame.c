/* Any numbers as a frame, on planes of any size, prepared by a real model: the file named by T2M_FUZZ_MODEL. */
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
  t2m_room room = {0, 0, 48};
  if (t2m_arena_size(file, size, &room, &arena_size)) exit(2);
  return t2m_open(&model, file, size, &room, malloc(arena_size), arena_size) ? -1 : 0;
}

static uint32_t take(const uint8_t **data, size_t *size) {
  uint8_t bytes[2] = {0, 0};
  for (int i = 0; i < 2 && *size; i++, ++*data, --*size) bytes[i] = **data;
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  t2m_frame frame;
  memset(&frame, 0, sizeof frame);
  uint32_t kind = take(&data, &size);
  frame.format = (t2m_format)(kind % 10u); /* one more than there are */
  frame.yuv = (t2m_yuv)(kind / 10u % 4u);
  frame.rotation = kind / 40u % 5u * 90u;
  /* Small, so that runs are many: every path shows on a few pixels. */
  frame.width = take(&data, &size) % 64u;
  frame.height = take(&data, &size) % 64u;
  uint8_t *planes[3] = {NULL, NULL, NULL};
  for (int i = 0; i < 3; i++) {
    frame.plane[i].stride = take(&data, &size) % 300u;
    frame.plane[i].step = take(&data, &size) % 6u;
    frame.plane[i].size = take(&data, &size) % 16384u;
    planes[i] = malloc(frame.plane[i].size + 1u);
    memset(planes[i], (int)(0x40u * (unsigned)i), frame.plane[i].size);
    memcpy(planes[i], data, size < frame.plane[i].size ? size : frame.plane[i].size);
    frame.plane[i].data = frame.plane[i].size ? planes[i] : NULL;
  }
  t2m_prepare(model, &frame);
  for (int i = 0; i < 3; i++) free(planes[i]);
  return 0;
}
