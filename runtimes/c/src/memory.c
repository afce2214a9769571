/* Compilers turn struct copies and zeroed structs into calls of memcpy and memset. Where there is no libc to give them
 * (Android without its NDK, WebAssembly, bare metal without newlib), build with T2M_OWN_MEMORY.
 */
#include "core.h"

#if defined(T2M_OWN_MEMORY)

void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

__attribute__((weak, visibility("hidden"))) void *memcpy(void *to, const void *from, size_t count) {
  volatile uint8_t *out = (volatile uint8_t *)to; /* so that the loop does not become a call of itself */
  const uint8_t *in = (const uint8_t *)from;
  for (size_t i = 0; i < count; i++) out[i] = in[i];
  return to;
}

__attribute__((weak, visibility("hidden"))) void *memmove(void *to, const void *from, size_t count) {
  volatile uint8_t *out = (volatile uint8_t *)to;
  const uint8_t *in = (const uint8_t *)from;
  if ((uintptr_t)to < (uintptr_t)from) return memcpy(to, from, count);
  for (size_t i = count; i-- > 0;) out[i] = in[i];
  return to;
}

__attribute__((weak, visibility("hidden"))) void *memset(void *to, int value, size_t count) {
  volatile uint8_t *out = (volatile uint8_t *)to;
  for (size_t i = 0; i < count; i++) out[i] = (uint8_t)value;
  return to;
}

#endif
