/* What every engine's context begins with. */
#ifndef T2M_ENGINE_CONTEXT_H
#define T2M_ENGINE_CONTEXT_H

#include "t2m_engines.h"

typedef struct t2m_engine_context {
  void (*close)(struct t2m_engine_context *context); /* frees the context, too */
} t2m_engine_context;

/* Opens a library; NULL and a message where it cannot. */
void *t2m_open_library(const char *path, char *message);

/* A function of a library; NULL where it has none of that name. ISO C has no cast from an object's pointer to a
 * function's: the bytes are copied, as POSIX asks dlsym to allow.
 */
#define T2M_FUNCTION(library, pointer, name) t2m_find_function(library, name, &(pointer), sizeof(pointer))
bool t2m_find_function(void *library, const char *name, void *pointer, size_t size);

/* Scores as an engine gives them: floats (item 4), or bytes (item 1), to be read as int8 where is_signed. */
void t2m_copy_scores(float *scores, const void *from, uint32_t count, size_t item, bool is_signed);

/* Writes a message; returns T2M_ERROR_ENGINE. */
t2m_status t2m_engine_fails(char *message, const char *format, ...);

#endif
