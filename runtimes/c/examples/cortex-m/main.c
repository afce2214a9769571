/* A classifier on a bare Cortex-M: the model in flash, one static arena, no libc, no heap.
 *
 *     arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -Os -ffp-contract=off -nostdlib \
 *         -ffreestanding -DT2M_OWN_MEMORY -DMODEL='"model.tflite"' -DPICTURE='"picture.rgb"' -DSIDE=96 \
 *         -I../../include -T mps2.ld main.c ../../src/[a-z]*.c -lgcc -o classify.elf
 *     qemu-system-arm -M mps2-an386 -nographic -semihosting-config enable=on,target=native -kernel classify.elf
 *
 * PICTURE is SIDE x SIDE RGB. Output goes through semihosting, which a debugger or qemu answers.
 */
#include "t2m.h"

#ifndef ARENA_BYTES
#define ARENA_BYTES (128 * 1024) /* t2m-edge and t2m_arena_size say how much a model needs */
#endif

__asm__(
    ".section .rodata\n"
    ".balign 16\n.global model_start\nmodel_start: .incbin \"" MODEL "\"\n"
    ".global model_end\nmodel_end: .byte 0\n"
    ".balign 4\n.global picture_start\npicture_start: .incbin \"" PICTURE "\"\n"
    ".text\n");

extern const uint8_t model_start[], model_end[], picture_start[];
extern uint32_t stack_top;

static uint8_t arena[ARENA_BYTES] __attribute__((aligned(T2M_ALIGNMENT)));

/* Arm semihosting: operation in r0, argument in r1. */
static void semihost(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void print(const char *text) { semihost(4, text); }

static void print_number(uint32_t value) {
  char digits[11];
  int at = 10;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + value % 10u);
    value /= 10u;
  } while (value);
  print(digits + at);
}

static void stop(int failed) {
  /* ADP_Stopped_ApplicationExit, or a run-time error. */
  semihost(0x18, (const void *)(failed ? 0x20023u : 0x20026u));
  for (;;) continue;
}

static void check(t2m_status status) {
  if (!status) return;
  print(t2m_status_text(status));
  print("\n");
  stop(1);
}

int main(void) {
  size_t size = (size_t)(model_end - model_start), needed;
  t2m_model *model;
  t2m_frame frame;
  t2m_class top[3];
  uint32_t count;
  bool rejected;
  check(t2m_arena_size(model_start, size, NULL, &needed));
  print("arena ");
  print_number((uint32_t)needed);
  print("\n");
  check(t2m_open(&model, model_start, size, NULL, arena, sizeof arena));
  frame.format = T2M_RGB;
  frame.yuv = T2M_BT601_FULL;
  frame.width = frame.height = SIDE;
  frame.rotation = 0;
  frame.plane[0].data = picture_start;
  frame.plane[0].size = SIDE * SIDE * 3u;
  frame.plane[0].stride = frame.plane[0].step = 0;
  check(t2m_prepare(model, &frame));
  check(t2m_run(model));
  check(t2m_top(model, top, 3, &count, &rejected));
  if (rejected) print("none of these\n");
  for (uint32_t i = 0; i < count; i++) {
    char name[128];
    check(t2m_label(model, top[i].index, name, sizeof name));
    print_number((uint32_t)(top[i].score * 10000.0f + 0.5f));
    print(" ");
    print(name);
    print("\n");
  }
  stop(0);
}

static void reset(void) {
  /* Full access to the floating-point unit (CPACR), where there is one. */
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
  __asm__ volatile("dsb\nisb");
  main();
}

static void fault(void) {
  print("fault\n");
  stop(1);
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))&stack_top, reset, fault, fault, fault, fault, fault,
};
