/* A model that something else runs: its manifest, frames, labels and scores are ours, its graph is not read. */
#include "../src/arena.h"
#include "../src/manifest.h"
#include "t2m_engines.h"

/* A number of Protocol Buffers: seven bits a byte, the lowest first. Moves `at`; false past the end. */
static bool read_varint(t2m_bytes file, uint32_t *at, uint64_t *value) {
  *value = 0;
  for (uint32_t shift = 0; shift < 64 && *at < file.size; shift += 7) {
    uint8_t byte = file.data[(*at)++];
    *value |= (uint64_t)(byte & 0x7Fu) << shift;
    if (byte < 0x80u) return true;
  }
  return false;
}

/* The next field of a message that ends at `end`: its number, and where the bytes of a string or message lie (begin = end
 * for other kinds). Moves `at` past it.
 */
static bool read_field(t2m_bytes file, uint32_t end, uint32_t *at, uint32_t *number, uint32_t *begin, uint32_t *last) {
  uint64_t key, size;
  t2m_bytes part = {file.data, end};
  if (!read_varint(part, at, &key)) return false;
  *number = (uint32_t)(key >> 3);
  *begin = *last = *at;
  switch (key & 7u) {
    case 0:
      return read_varint(part, at, &size);
    case 1:
      size = 8;
      break;
    case 2:
      if (!read_varint(part, at, &size)) return false;
      *begin = *at;
      break;
    case 5:
      size = 4;
      break;
    default:
      return false;
  }
  if (size > end - *at) return false;
  *at += (uint32_t)size;
  *last = (key & 7u) == 2 ? *at : *begin;
  return true;
}

/* The manifest of an .onnx: the entry "t2m_manifest" of ModelProto.metadata_props (onnx.proto, field 14). */
static t2m_status find_onnx_manifest(t2m_bytes file, uint32_t *begin, uint32_t *end) {
  static const char name[] = "t2m_manifest";
  uint32_t at = 0, number, first, last;
  while (at < file.size) {
    if (!read_field(file, file.size, &at, &number, &first, &last)) return T2M_ERROR_BROKEN_MODEL;
    if (number != 14) continue;
    bool ours = false;
    uint32_t entry_end = last, from = 0, to = 0, value = first, value_end;
    while (value < entry_end) {
      uint32_t field, start;
      if (!read_field(file, entry_end, &value, &field, &start, &value_end)) return T2M_ERROR_BROKEN_MODEL;
      if (field == 2) from = start, to = value_end;
      if (field != 1 || value_end - start != sizeof name - 1u) continue;
      ours = true;
      for (uint32_t i = 0; i < sizeof name - 1u; i++) ours = ours && file.data[start + i] == (uint8_t)name[i];
    }
    if (ours && to > from) {
      *begin = from;
      *end = to;
      return T2M_OK;
    }
  }
  return T2M_ERROR_NO_MANIFEST;
}

static t2m_status plan(const void *data, size_t size, const t2m_room *room, t2m_facts *facts, t2m_layout *layout) {
  if (!data) return T2M_ERROR_ARGUMENT;
  if (size > T2M_MAX_FILE) return T2M_ERROR_UNSUPPORTED;
  t2m_bytes file = {(const uint8_t *)data, (uint32_t)size};
  bool is_tflite = size >= 8 && t2m_load_u32(file.data + 4) == 0x334C4654u; /* "TFL3" */
  uint32_t begin, end, side = room && room->frame_side ? room->frame_side : T2M_DEFAULT_FRAME_SIDE;
  if (side > T2M_MAX_FRAME_SIDE) return T2M_ERROR_ARGUMENT;
  t2m_facts none = {0};
  *facts = none;
  t2m_status status = is_tflite ? t2m_find_manifest(file, &begin, &end) : find_onnx_manifest(file, &begin, &end);
  if (!status) status = t2m_read_manifest(file, begin, end, 0, facts);
  if (status) return status;
  if (facts->height > T2M_MAX_SIDE || facts->width > T2M_MAX_SIDE || facts->label_count > T2M_MAX_LABELS)
    return T2M_ERROR_UNSUPPORTED;
  t2m_layout found = {0};
  found.operators = found.hidden = found.logits = found.scores = T2M_MODEL_BYTES;
  found.input = found.scores + t2m_align(4u * facts->label_count);
  found.features = found.scratch = found.input;
  found.label_room = facts->label_count;
  found.size = found.input + t2m_align(facts->height * facts->width * 3u) +
               t2m_plan_frame(side, facts->height, facts->width).size;
  *layout = found;
  return found.size > T2M_MAX_FILE ? T2M_ERROR_UNSUPPORTED : T2M_OK;
}

t2m_status t2m_engine_arena_size(const void *data, size_t size, const t2m_room *room, size_t *bytes) {
  t2m_facts facts;
  t2m_layout layout;
  if (!bytes) return T2M_ERROR_ARGUMENT;
  t2m_status status = plan(data, size, room, &facts, &layout);
  if (!status) *bytes = layout.size;
  return status;
}

t2m_status t2m_open_engine(t2m_model **model, const t2m_engine *engine, const void *data, size_t size,
                           const t2m_room *room, void *arena, size_t arena_size) {
  t2m_facts facts;
  t2m_layout layout;
  if (!model || !engine || !engine->run || !arena) return T2M_ERROR_ARGUMENT;
  if ((uintptr_t)arena & (T2M_ALIGNMENT - 1u)) return T2M_ERROR_ALIGNMENT;
  t2m_status status = plan(data, size, room, &facts, &layout);
  if (status) return status;
  if (arena_size < layout.size) return T2M_ERROR_ARENA_TOO_SMALL;
  t2m_model *opened = (t2m_model *)arena, none = {0};
  *opened = none;
  opened->file.data = opened->head.file.data = (const uint8_t *)data;
  opened->file.size = opened->head.file.size = (uint32_t)size;
  opened->arena = (uint8_t *)arena;
  opened->kernel = t2m_find_kernel(NULL);
  opened->engine = *engine;
  opened->facts = opened->head.facts = facts;
  opened->head.layer_count = 1;
  opened->layout = layout;
  *model = opened;
  return T2M_OK;
}
