/* Runs every model of a list on all kernels that the processor has. Prints the best ones, then the first difference to
 * the reference or what was compared, and the instructions of one run of the first model where the clock counts those.
 *
 * The list: for each model its size in 16 bytes, then its bytes and zeros to a multiple of 16; size 0 ends it.
 */
#include "t2m.h"

__asm__(".section .rodata\n.balign 16\n.global models\nmodels: .incbin \"" MODELS "\"\n.text\n");
extern const uint8_t models[];

static uint8_t *const arena = (uint8_t *)0x4000000, *const expected = (uint8_t *)0x6000000;
enum { ARENA_BYTES = 0x1000000 };

static void put(uint16_t port, char letter) { __asm__ volatile("outb %0, %1" ::"a"(letter), "Nd"(port)); }

static void print(const char *text) {
  for (; *text; text++) put(0xE9, *text);
}

static void print_number(uint64_t value) {
  char digits[21];
  int at = 20;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + value % 10u);
  } while (value /= 10u);
  print(digits + at);
}

static void stop(void) {
  for (const char *text = "Shutdown"; *text; text++) put(0x8900, *text);
  for (;;) __asm__ volatile("hlt");
}

static void fail(uint32_t model, const char *kernels, const char *what) {
  print("model "), print_number(model), print(" on "), print(kernels), print(": "), print(what), print("\n");
  stop();
}

static uint64_t clock_now(void) {
  uint32_t low, high;
  __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
  return (uint64_t)high << 32 | low;
}

static uint32_t fill(t2m_model *model, uint32_t state) {
  uint8_t *image = t2m_input(model);
  for (uint32_t i = 0; i < t2m_height(model) * t2m_width(model) * 3u; i++)
    image[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
  return state;
}

__attribute__((section(".first"))) void start(void) {
  static const char *const names[] = {"reference", "avx2", "avx512-vnni"};
  uint32_t count = 0, values = 0, seed = 1;
  for (const uint8_t *at = models; *(const uint32_t *)at; count++) {
    uint32_t size = *(const uint32_t *)at, next = seed;
    t2m_model *model;
    at += 16;
    t2m_status status = t2m_open(&model, at, size, NULL, arena, ARENA_BYTES);
    if (status) fail(count, "", t2m_status_text(status));
    if (count == 0) print("best "), print(t2m_kernels(model)), print("\n");
    for (uint32_t kernel = 0; kernel < sizeof names / sizeof names[0]; kernel++) {
      if (t2m_set_kernels(model, names[kernel])) continue;
      uint32_t features;
      bool is_int8;
      next = fill(model, seed);
      uint64_t before = clock_now();
      status = t2m_run(model);
      uint64_t after = clock_now();
      const uint8_t *found = t2m_features(model, &features, &is_int8);
      if (status || !is_int8) fail(count, names[kernel], t2m_status_text(status));
      if (count == 0) print(names[kernel]), print(" "), print_number(after - before), print("\n");
      for (uint32_t i = 0; i < features; i++) {
        if (kernel == 0) expected[i] = found[i];
        if (expected[i] != found[i]) fail(count, names[kernel], "another feature than the reference");
      }
      values += kernel ? features : 0u;
    }
    seed = next;
    at += (size + 15u) & ~15u;
  }
  print_number(count), print(" models, "), print_number(values), print(" features equal\n");
  stop();
}
