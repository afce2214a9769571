#include "flatbuffer.h"

static bool inside(t2m_reader *reader, uint32_t at, uint32_t size) {
  if (!reader->broken && size <= reader->file.size && at <= reader->file.size - size) return true;
  reader->broken = true;
  return false;
}

uint32_t t2m_read_u32(t2m_reader *reader, uint32_t at) {
  return inside(reader, at, 4) ? t2m_load_u32(reader->file.data + at) : 0;
}

static uint32_t read_u16(t2m_reader *reader, uint32_t at) {
  return inside(reader, at, 2) ? t2m_load_u16(reader->file.data + at) : 0;
}

/* Where an offset stored at a position leads: always towards the end of the file. */
static uint32_t follow(t2m_reader *reader, uint32_t at) {
  uint32_t offset = t2m_read_u32(reader, at);
  if (reader->broken || offset == 0 || offset > reader->file.size - at) {
    reader->broken = true;
    return 0;
  }
  return at + offset;
}

uint32_t t2m_field(t2m_reader *reader, uint32_t table, uint32_t slot, uint32_t size) {
  /* The distance back to the vtable is signed: a vtable may follow its table. */
  int64_t vtable = (int64_t)table - (int32_t)t2m_read_u32(reader, table);
  if (reader->broken || vtable < 0 || vtable > (int64_t)reader->file.size) {
    reader->broken = true;
    return 0;
  }
  uint32_t entry = 4u + 2u * slot;
  if (entry + 2u > read_u16(reader, (uint32_t)vtable)) return 0;
  uint32_t offset = read_u16(reader, (uint32_t)vtable + entry);
  if (offset == 0 || !inside(reader, table + offset, size)) return 0;
  return table + offset;
}

int32_t t2m_field_i8(t2m_reader *reader, uint32_t table, uint32_t slot, int32_t otherwise) {
  uint32_t at = t2m_field(reader, table, slot, 1);
  return at ? (int8_t)reader->file.data[at] : otherwise;
}

uint32_t t2m_field_u32(t2m_reader *reader, uint32_t table, uint32_t slot, uint32_t otherwise) {
  uint32_t at = t2m_field(reader, table, slot, 4);
  return at ? t2m_load_u32(reader->file.data + at) : otherwise;
}

uint32_t t2m_field_table(t2m_reader *reader, uint32_t table, uint32_t slot) {
  uint32_t at = t2m_field(reader, table, slot, 4);
  return at ? follow(reader, at) : 0;
}

t2m_vector t2m_field_vector(t2m_reader *reader, uint32_t table, uint32_t slot, uint32_t item_size) {
  t2m_vector none = {0, 0};
  uint32_t start = t2m_field_table(reader, table, slot);
  if (!start) return none;
  t2m_vector vector = {start + 4u, t2m_read_u32(reader, start)};
  if (!reader->broken && vector.count > (reader->file.size - vector.at) / item_size) reader->broken = true;
  return reader->broken ? none : vector;
}

uint32_t t2m_vector_table(t2m_reader *reader, t2m_vector vector, uint32_t index) {
  if (index >= vector.count) {
    reader->broken = true;
    return 0;
  }
  return follow(reader, vector.at + 4u * index);
}
