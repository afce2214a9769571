/* Reading flatbuffers (https://flatbuffers.dev/internals) from bytes that nobody has checked.
 *
 * Every access is checked against the size. A reader that met something impossible is `broken` from then on and gives
 * zeros, so that callers check once, at the end of a step.
 */
#ifndef T2M_FLATBUFFER_H
#define T2M_FLATBUFFER_H

#include "core.h"

typedef struct t2m_reader {
  t2m_bytes file;
  bool broken;
} t2m_reader;

/* Items of equal size, one after the other. */
typedef struct t2m_vector {
  uint32_t at; /* position of the first item */
  uint32_t count;
} t2m_vector;

uint32_t t2m_read_u32(t2m_reader *reader, uint32_t at);

/* Position of a table's field of `size` bytes, or 0 where the table does not have it. */
uint32_t t2m_field(t2m_reader *reader, uint32_t table, uint32_t slot, uint32_t size);

/* A scalar field, or the default. */
int32_t t2m_field_i8(t2m_reader *reader, uint32_t table, uint32_t slot, int32_t otherwise);
uint32_t t2m_field_u32(t2m_reader *reader, uint32_t table, uint32_t slot, uint32_t otherwise);

/* What a field of offset type points at, or 0. */
uint32_t t2m_field_table(t2m_reader *reader, uint32_t table, uint32_t slot);

/* A vector field; count 0 where the table does not have it. */
t2m_vector t2m_field_vector(t2m_reader *reader, uint32_t table, uint32_t slot, uint32_t item_size);

/* The table that item `index` of a vector of offsets points at. */
uint32_t t2m_vector_table(t2m_reader *reader, t2m_vector vector, uint32_t index);

#endif
