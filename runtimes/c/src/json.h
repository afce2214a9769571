/* A cursor over JSON text (RFC 8259) that nobody has checked; no tree, no copy, no recursion.
 *
 * Where `quoted` is set, the text itself lies inside a JSON string, as a head file's manifest does: every character is
 * unescaped on the way. A cursor that met something impossible is `broken` from then on and gives nothing.
 */
#ifndef T2M_JSON_H
#define T2M_JSON_H

#include "core.h"

typedef struct t2m_json {
  const uint8_t *data;
  uint32_t at, end;
  uint8_t quoted;
  uint8_t pending[4]; /* bytes of an escaped character that were not yet given */
  uint8_t pending_count;
  bool broken;
} t2m_json;

t2m_json t2m_json_at(t2m_bytes file, uint32_t begin, uint32_t end, uint32_t quoted);

/* The next byte that is not space, without taking it; 0 at the end. */
uint8_t t2m_json_peek(t2m_json *json);

/* Takes one punctuation character, or breaks the cursor. */
T2M_ONCE void t2m_json_take(t2m_json *json, char expected);

/* Inside an object or array that was just opened: whether there is another item. Takes the comma or the closing. */
T2M_ONCE bool t2m_json_next(t2m_json *json, bool *first, char closing);

/* Takes a string into text (room bytes with a NUL at the end); returns its bytes without the NUL. Longer ones are cut
 * and their whole length returned. text may be NULL.
 */
T2M_ONCE uint32_t t2m_json_string(t2m_json *json, char *text, uint32_t room);

/* Takes a number. */
T2M_ONCE double t2m_json_number(t2m_json *json);

/* Takes a whole number from 0 to most. */
T2M_ONCE uint32_t t2m_json_whole(t2m_json *json, uint32_t most);

/* Takes any value; nesting up to 32 deep. */
T2M_ONCE void t2m_json_skip(t2m_json *json);

/* Takes a literal such as null where it stands there. */
T2M_ONCE bool t2m_json_word(t2m_json *json, const char *word);

bool t2m_text_is(const char *text, const char *expected);

#endif
