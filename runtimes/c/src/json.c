#include "json.h"

#include "numbers.h"

t2m_json t2m_json_at(t2m_bytes file, uint32_t begin, uint32_t end, uint32_t quoted) {
  t2m_json json = {file.data, begin, end <= file.size ? end : begin, quoted != 0, {0}, 0, false};
  return json;
}

/* Called for every key of a manifest: a copy of its code at each place would cost kilobytes. */
#ifdef __GNUC__
__attribute__((noinline))
#endif
bool t2m_text_is(const char *text, const char *expected) {
  while (*text && *text == *expected) text++, expected++;
  return *text == *expected;
}

static uint8_t fail(t2m_json *json) {
  json->broken = true;
  json->pending_count = 0;
  return 0;
}

/* One byte of the outer text; 0, which JSON text never holds, at its end. */
static uint8_t outer(t2m_json *json) {
  if (json->broken || json->at >= json->end) return fail(json);
  return json->data[json->at++];
}

static uint32_t hex4(t2m_json *json, uint8_t (*next)(t2m_json *)) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) {
    uint8_t c = next(json);
    uint32_t digit = 16;
    if (c >= '0' && c <= '9') digit = c - (uint32_t)'0';
    if (c >= 'a' && c <= 'f') digit = c - (uint32_t)'a' + 10u;
    if (c >= 'A' && c <= 'F') digit = c - (uint32_t)'A' + 10u;
    if (digit > 15) fail(json);
    value = value << 4 | (digit & 15u);
  }
  return value;
}

/* A code point as UTF-8; returns the number of bytes. */
static uint8_t utf8(uint32_t code, uint8_t bytes[4]) {
  if (code < 0x80) {
    bytes[0] = (uint8_t)code;
    return 1;
  }
  uint8_t count = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (uint8_t i = (uint8_t)(count - 1); i > 0; i--, code >>= 6) bytes[i] = (uint8_t)(0x80u | (code & 0x3Fu));
  bytes[0] = (uint8_t)((count == 2 ? 0xC0u : count == 3 ? 0xE0u : 0xF0u) | code);
  return count;
}

/* What follows a backslash: the bytes that it stands for, at most 4. */
static uint8_t escape(t2m_json *json, uint8_t (*next)(t2m_json *), uint8_t bytes[4]) {
  uint8_t c = next(json);
  uint32_t code = c;
  switch (c) {
    case '"':
    case '\\':
    case '/':
      break;
    case 'b':
      code = 8;
      break;
    case 'f':
      code = 12;
      break;
    case 'n':
      code = 10;
      break;
    case 'r':
      code = 13;
      break;
    case 't':
      code = 9;
      break;
    case 'u':
      code = hex4(json, next);
      if (code >= 0xD800 && code < 0xDC00) {
        /* A pair of surrogates is one character. */
        if (next(json) != '\\' || next(json) != 'u') fail(json);
        uint32_t low = hex4(json, next);
        if (low < 0xDC00 || low >= 0xE000) fail(json);
        code = 0x10000u + ((code - 0xD800u) << 10) + (low - 0xDC00u);
      } else if (code == 0 || (code >= 0xDC00 && code < 0xE000)) {
        fail(json);
      }
      break;
    default:
      fail(json);
  }
  return utf8(code, bytes);
}

/* One byte of the text. */
static uint8_t next(t2m_json *json) {
  if (json->pending_count) {
    uint8_t byte = json->pending[0];
    for (uint8_t i = 1; i < json->pending_count; i++) json->pending[i - 1] = json->pending[i];
    json->pending_count--;
    return byte;
  }
  uint8_t byte = outer(json);
  if (!json->quoted || json->broken) return byte;
  if (byte == '"' || byte < 0x20) return fail(json);
  if (byte != '\\') return byte;
  uint8_t bytes[4];
  uint8_t count = escape(json, outer, bytes);
  if (json->broken) return 0;
  for (uint8_t i = 1; i < count; i++) json->pending[i - 1] = bytes[i];
  json->pending_count = (uint8_t)(count - 1);
  return bytes[0];
}

uint8_t t2m_json_peek(t2m_json *json) {
  for (;;) {
    t2m_json before = *json;
    if (!json->pending_count && json->at >= json->end) return 0;
    uint8_t byte = next(json);
    if (json->broken) return 0;
    if (byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t') continue;
    *json = before;
    return byte;
  }
}

void t2m_json_take(t2m_json *json, char expected) {
  if (t2m_json_peek(json) != (uint8_t)expected) fail(json);
  next(json);
}

bool t2m_json_next(t2m_json *json, bool *first, char closing) {
  if (t2m_json_peek(json) == (uint8_t)closing) {
    next(json);
    return false;
  }
  if (!*first) t2m_json_take(json, ',');
  *first = false;
  return !json->broken;
}

uint32_t t2m_json_string(t2m_json *json, char *text, uint32_t room) {
  uint32_t length = 0, written = 0;
  t2m_json_take(json, '"');
  for (;;) {
    uint8_t bytes[4];
    uint8_t count = 1;
    bytes[0] = next(json);
    if (json->broken || bytes[0] < 0x20) {
      fail(json);
      length = 0;
      break;
    }
    if (bytes[0] == '"') break;
    if (bytes[0] == '\\') count = escape(json, next, bytes);
    /* Whole characters only. */
    if (text && written == length && length + count < room)
      for (uint8_t i = 0; i < count; i++) text[written++] = (char)bytes[i];
    length += count;
  }
  if (text && room) text[written] = 0;
  return json->broken ? 0 : length;
}

double t2m_json_number(t2m_json *json) {
  uint8_t c = t2m_json_peek(json);
  bool negative = c == '-', any = false, point = false;
  uint64_t digits = 0;
  int32_t exponent = 0;
  if (negative) {
    next(json);
    c = t2m_json_peek(json);
  }
  for (; (c >= '0' && c <= '9') || (c == '.' && !point); c = t2m_json_peek(json)) {
    next(json);
    if (c == '.') {
      point = true;
      continue;
    }
    any = true;
    /* 19 digits always fit; the rest is beyond the precision of a double. */
    if (digits < 1000000000000000000u) {
      digits = digits * 10u + (uint64_t)(c - '0');
      exponent -= point;
    } else if (!point && exponent < 1000) {
      exponent++;
    }
  }
  if (any && (c == 'e' || c == 'E')) {
    next(json);
    c = t2m_json_peek(json);
    bool down = c == '-';
    int32_t power = 0;
    if (c == '-' || c == '+') next(json);
    for (c = t2m_json_peek(json), any = false; c >= '0' && c <= '9'; c = t2m_json_peek(json), any = true) {
      next(json);
      if (power < 1000) power = power * 10 + (c - '0');
    }
    exponent += down ? -power : power;
  }
  if (!any) fail(json);
  double value = json->broken ? 0 : t2m_decimal(digits, exponent);
  return negative ? -value : value;
}

uint32_t t2m_json_whole(t2m_json *json, uint32_t most) {
  double value = t2m_json_number(json);
  if (!(value >= 0 && value <= (double)most) || value != (double)(uint32_t)value) fail(json);
  return json->broken ? 0 : (uint32_t)value;
}

bool t2m_json_word(t2m_json *json, const char *word) {
  if (t2m_json_peek(json) != (uint8_t)*word) return false;
  t2m_json before = *json;
  while (*word && next(json) == (uint8_t)*word) word++;
  if (!*word) return true;
  *json = before;
  return false;
}

static void skip_key(t2m_json *json) {
  t2m_json_string(json, NULL, 0);
  t2m_json_take(json, ':');
}

void t2m_json_skip(t2m_json *json) {
  uint32_t depth = 0, objects = 0; /* a bit for each open level: 1 for an object */
  bool value_is_due = true;
  while ((value_is_due || depth) && !json->broken) {
    uint8_t c = t2m_json_peek(json);
    if (!value_is_due) {
      bool object = objects & 1u;
      if (c == ',') {
        next(json);
        if (object) skip_key(json);
        value_is_due = true;
      } else {
        t2m_json_take(json, object ? '}' : ']');
        objects >>= 1;
        depth--;
      }
    } else if (c == '{' || c == '[') {
      if (depth == 32) fail(json);
      next(json);
      objects = objects << 1 | (c == '{');
      depth++;
      value_is_due = t2m_json_peek(json) != (c == '{' ? '}' : ']');
      if (value_is_due && c == '{') skip_key(json);
    } else {
      if (c == '"') {
        t2m_json_string(json, NULL, 0);
      } else if (!t2m_json_word(json, "null") && !t2m_json_word(json, "true") && !t2m_json_word(json, "false")) {
        t2m_json_number(json);
      }
      value_is_due = false;
    }
  }
}
