#include "context.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void *t2m_open_library(const char *path, char *message) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) t2m_engine_fails(message, "cannot open the library (%s)", dlerror());
  return library;
}

bool t2m_find_function(void *library, const char *name, void *pointer, size_t size) {
  void *found = dlsym(library, name);
  memcpy(pointer, &found, size);
  return found != NULL;
}

void t2m_copy_scores(float *scores, const void *from, uint32_t count, size_t item, bool is_signed) {
  if (item == sizeof *scores) {
    memcpy(scores, from, item * count);
    return;
  }
  for (uint32_t i = 0; i < count; i++)
    scores[i] = is_signed ? (float)((const int8_t *)from)[i] : (float)((const uint8_t *)from)[i];
}

t2m_status t2m_engine_fails(char *message, const char *format, ...) {
  va_list values;
  va_start(values, format);
  vsnprintf(message, T2M_ENGINE_MESSAGE, format, values);
  va_end(values);
  return T2M_ERROR_ENGINE;
}

void t2m_close_engine(t2m_engine *engine) {
  t2m_engine_context *context = (t2m_engine_context *)engine->context;
  if (context) context->close(context);
  engine->context = NULL;
  engine->run = NULL;
}
