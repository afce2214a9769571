#include "manifest.h"

#include "numbers.h"

enum { SHA256_DIGITS = 64, SCHEMA_VERSION = 1, PREPARATION_VERSION = 1 };

/* No number of the manifest that the core reads is larger. */
enum { MOST = 1000000 };

/* The end record is 22 bytes and up to 65,535 bytes of comment; the central directory lies before it. */
enum { END_BYTES = 22, CENTRAL_BYTES = 46, LOCAL_BYTES = 30, MAX_COMMENT = 0xFFFF, MAX_MEMBERS = 64 };

static const char MEMBER[] = "t2m_manifest.json";

static bool is_member(t2m_bytes file, uint32_t at, uint32_t size) {
  if (size != sizeof MEMBER - 1u) return false;
  for (uint32_t i = 0; i < size; i++)
    if (file.data[at + i] != (uint8_t)MEMBER[i]) return false;
  return true;
}

/* CRC-32 of zip (polynomial 0xEDB88320), four bits at a time. */
static uint32_t crc32_of(const uint8_t *data, uint32_t size) {
  static const uint32_t table[16] = {0x00000000, 0x1DB71064, 0x3B6E20C8, 0x26D930AC, 0x76DC4190, 0x6B6B51F4,
                                     0x4DB26158, 0x5005713C, 0xEDB88320, 0xF00F9344, 0xD6D6A3E8, 0xCB61B38C,
                                     0x9B64C2B0, 0x86D3D2D4, 0xA00AE278, 0xBDBDF21C};
  uint32_t crc = 0xFFFFFFFFu;
  for (uint32_t i = 0; i < size; i++) {
    crc ^= data[i];
    crc = table[crc & 15u] ^ crc >> 4;
    crc = table[crc & 15u] ^ crc >> 4;
  }
  return ~crc;
}

/* The content of a stored member whose directory entry is at `entry`; the archive's bytes begin at `shift`. */
static t2m_status find_content(t2m_bytes file, const uint8_t *entry, uint32_t shift, uint32_t limit, uint32_t *begin,
                               uint32_t *end) {
  uint32_t flags = t2m_load_u16(entry + 8), method = t2m_load_u16(entry + 10);
  uint32_t packed = t2m_load_u32(entry + 20), size = t2m_load_u32(entry + 24);
  uint64_t start = (uint64_t)shift + t2m_load_u32(entry + 42);
  if (method != 0 || (flags & 1u) || packed != size) return T2M_ERROR_BROKEN_MANIFEST;
  if (start + LOCAL_BYTES > limit) return T2M_ERROR_BROKEN_MANIFEST;
  const uint8_t *local = file.data + start;
  uint32_t name_size = t2m_load_u16(local + 26);
  uint64_t content = start + LOCAL_BYTES + name_size + t2m_load_u16(local + 28);
  if (t2m_load_u32(local) != 0x04034B50u || content + size > limit) return T2M_ERROR_BROKEN_MANIFEST;
  if (!is_member(file, (uint32_t)start + LOCAL_BYTES, name_size)) return T2M_ERROR_BROKEN_MANIFEST;
  bool whole = crc32_of(file.data + content, size) == t2m_load_u32(entry + 16);
#ifdef T2M_FUZZ
  whole = true; /* a fuzzer does not guess checksums, and what follows must stand anything */
#endif
  if (!whole) return T2M_ERROR_BROKEN_MANIFEST;
  *begin = (uint32_t)content;
  *end = (uint32_t)content + size;
  return T2M_OK;
}

t2m_status t2m_find_manifest(t2m_bytes file, uint32_t *begin, uint32_t *end) {
  if (file.size < END_BYTES) return T2M_ERROR_NO_MANIFEST;
  uint32_t record = file.size - END_BYTES, lowest = record > MAX_COMMENT ? record - MAX_COMMENT : 0;
  while (t2m_load_u32(file.data + record) != 0x06054B50u) {
    if (record == lowest) return T2M_ERROR_NO_MANIFEST;
    record--;
  }
  const uint8_t *tail = file.data + record;
  uint32_t count = t2m_load_u16(tail + 10), size = t2m_load_u32(tail + 12), offset = t2m_load_u32(tail + 16);
  bool one_disk = t2m_load_u16(tail + 4) == 0 && t2m_load_u16(tail + 6) == 0 && t2m_load_u16(tail + 8) == count;
  bool ends = record + END_BYTES + t2m_load_u16(tail + 20) == file.size;
  if (!one_disk || !ends || count > MAX_MEMBERS || size > record) return T2M_ERROR_BROKEN_MANIFEST;
  /* Offsets count from the start of the file, or of the archive where it was appended afterwards. */
  uint32_t directory = record - size, position = directory;
  if (offset > directory) return T2M_ERROR_BROKEN_MANIFEST;
  const uint8_t *found = NULL;
  for (uint32_t i = 0; i < count; i++) {
    const uint8_t *entry = file.data + position;
    if (record - position < CENTRAL_BYTES || t2m_load_u32(entry) != 0x02014B50u) return T2M_ERROR_BROKEN_MANIFEST;
    uint32_t name_size = t2m_load_u16(entry + 28);
    uint32_t whole = CENTRAL_BYTES + name_size + t2m_load_u16(entry + 30) + t2m_load_u16(entry + 32);
    if (record - position < whole) return T2M_ERROR_BROKEN_MANIFEST;
    if (is_member(file, position + CENTRAL_BYTES, name_size)) {
      if (found) return T2M_ERROR_BROKEN_MANIFEST;
      found = entry;
    }
    position += whole;
  }
  if (!found) return T2M_ERROR_NO_MANIFEST;
  return find_content(file, found, directory - offset, directory, begin, end);
}

/* The number of items of an array, and the position of the first; every item is skipped. */
static uint32_t count_items(t2m_json *json, bool labels, uint32_t *first_item) {
  uint32_t count = 0;
  t2m_json_take(json, '[');
  *first_item = json->at;
  for (bool first = true; t2m_json_next(json, &first, ']'); count++) {
    if (!labels) {
      t2m_json_skip(json);
    } else {
      uint32_t length = t2m_json_string(json, NULL, 0);
      if (length == 0 || length >= T2M_LABEL_BYTES) json->broken = true;
    }
    if (count == T2M_MAX_LABELS) json->broken = true;
  }
  return count;
}

static void read_input(t2m_json *json, t2m_facts *facts, uint32_t *preparation) {
  t2m_json_take(json, '{');
  for (bool first = true; t2m_json_next(json, &first, '}');) {
    char key[24], crop[16];
    t2m_json_string(json, key, sizeof key);
    t2m_json_take(json, ':');
    if (t2m_text_is(key, "height")) {
      facts->height = t2m_json_whole(json, MOST);
    } else if (t2m_text_is(key, "width")) {
      facts->width = t2m_json_whole(json, MOST);
    } else if (t2m_text_is(key, "preparation_version")) {
      *preparation = t2m_json_whole(json, MOST);
    } else if (t2m_text_is(key, "crop")) {
      t2m_json_string(json, crop, sizeof crop);
      facts->stretch = t2m_text_is(crop, "stretch");
      if (!facts->stretch && !t2m_text_is(crop, "center")) json->broken = true;
    } else {
      t2m_json_skip(json);
    }
  }
}

static void read_output(t2m_json *json, t2m_facts *facts) {
  bool integer = false;
  double scale = 0, zero = 0;
  t2m_json_take(json, '{');
  for (bool first = true; t2m_json_next(json, &first, '}');) {
    char key[24], scores[16], type[16];
    t2m_json_string(json, key, sizeof key);
    t2m_json_take(json, ':');
    if (t2m_text_is(key, "scores")) {
      t2m_json_string(json, scores, sizeof scores);
      bool softmax = t2m_text_is(scores, "softmax"), sigmoid = t2m_text_is(scores, "sigmoid");
      facts->scores = softmax ? T2M_SOFTMAX : sigmoid ? T2M_SIGMOID : T2M_LOGITS;
      if (!softmax && !sigmoid && !t2m_text_is(scores, "logits")) json->broken = true;
    } else if (t2m_text_is(key, "dtype")) {
      t2m_json_string(json, type, sizeof type);
      integer = t2m_text_is(type, "uint8") || t2m_text_is(type, "int8");
      if (!integer && !t2m_text_is(type, "float32")) json->broken = true;
    } else if (t2m_text_is(key, "scale")) {
      scale = t2m_json_number(json);
    } else if (t2m_text_is(key, "zero_point")) {
      zero = t2m_json_number(json);
    } else {
      t2m_json_skip(json);
    }
  }
  if (!integer || json->broken) return;
  if (!(scale >= 1e-30 && scale <= 1e30) || !(zero >= -128 && zero <= 255) || zero != (double)(int32_t)zero) {
    json->broken = true;
    return;
  }
  facts->output_scale = (float)scale;
  facts->output_zero = (int32_t)zero;
}

t2m_status t2m_read_manifest(t2m_bytes file, uint32_t begin, uint32_t end, uint32_t quoted, t2m_facts *facts) {
  t2m_facts found = {0};
  found.begin = begin;
  found.end = end;
  found.quoted = quoted;
  found.scores = T2M_SOFTMAX; /* a head's manifest says nothing of its scores */
  uint32_t version = 0, preparation = 0;
  t2m_json json = t2m_json_at(file, begin, end, quoted);
  t2m_json_take(&json, '{');
  for (bool first = true; t2m_json_next(&json, &first, '}');) {
    char key[24];
    t2m_json_string(&json, key, sizeof key);
    t2m_json_take(&json, ':');
    if (t2m_text_is(key, "schema_version")) {
      version = t2m_json_whole(&json, MOST);
    } else if (t2m_text_is(key, "labels")) {
      found.label_count = count_items(&json, true, &found.labels);
    } else if (t2m_text_is(key, "thresholds")) {
      found.threshold_count = count_items(&json, false, &found.thresholds);
    } else if (t2m_text_is(key, "input")) {
      read_input(&json, &found, &preparation);
    } else if (t2m_text_is(key, "output")) {
      read_output(&json, &found);
    } else if (t2m_text_is(key, "backbone_sha256")) {
      t2m_json_peek(&json);
      found.backbone = json.at;
      if (t2m_json_string(&json, NULL, 0) != SHA256_DIGITS) json.broken = true;
    } else {
      t2m_json_skip(&json);
    }
  }
  /* Nothing may follow. */
  if (json.broken || t2m_json_peek(&json) != 0) return T2M_ERROR_BROKEN_MANIFEST;
  if (version > SCHEMA_VERSION || preparation > PREPARATION_VERSION) return T2M_ERROR_NEWER;
  bool whole = version && preparation && found.labels && found.backbone && found.height && found.width;
  if (!whole || found.label_count < 1) return T2M_ERROR_BROKEN_MANIFEST;
  if (found.thresholds && found.threshold_count != found.label_count) return T2M_ERROR_BROKEN_MANIFEST;
  *facts = found;
  return T2M_OK;
}

/* A cursor at item `index` of an array whose first item is at `position`. */
static t2m_json item_of(t2m_bytes file, const t2m_facts *facts, uint32_t position, uint32_t index) {
  t2m_json json = t2m_json_at(file, position, facts->end, facts->quoted);
  bool first = true;
  for (uint32_t i = 0; i < index && t2m_json_next(&json, &first, ']'); i++) t2m_json_skip(&json);
  t2m_json_next(&json, &first, ']');
  return json;
}

uint32_t t2m_read_label(t2m_bytes file, const t2m_facts *facts, uint32_t index, char *text, uint32_t room) {
  t2m_json json = item_of(file, facts, facts->labels, index);
  return t2m_json_string(&json, text, room);
}

bool t2m_any_reaches(t2m_bytes file, const t2m_facts *facts, const float *scores, uint32_t first, uint32_t count) {
  t2m_json json = t2m_json_at(file, facts->thresholds, facts->end, facts->quoted);
  bool is_first = true;
  for (uint32_t i = 0; i < first + count; i++) {
    bool limited = facts->scores == T2M_SIGMOID;
    double threshold = 0.5;
    if (facts->thresholds) {
      t2m_json_next(&json, &is_first, ']');
      if (!t2m_json_word(&json, "null")) {
        threshold = t2m_json_number(&json);
        limited = true;
      }
    }
    if (i >= first && (!limited || (double)scores[i] >= threshold)) return true;
  }
  return false;
}

bool t2m_same_backbone(t2m_bytes a_file, const t2m_facts *a, t2m_bytes b_file, const t2m_facts *b) {
  char left[SHA256_DIGITS + 1], right[SHA256_DIGITS + 1];
  t2m_json a_json = t2m_json_at(a_file, a->backbone, a->end, a->quoted);
  t2m_json b_json = t2m_json_at(b_file, b->backbone, b->end, b->quoted);
  bool whole = t2m_json_string(&a_json, left, sizeof left) == SHA256_DIGITS;
  whole = t2m_json_string(&b_json, right, sizeof right) == SHA256_DIGITS && whole;
  return whole && t2m_text_is(left, right);
}
