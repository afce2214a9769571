/* Counts on a bare Cortex-M in qemu: the model in the program, no libc. Semihosting gives the command line and takes output.
 *
 *     qemu-system-arm -M mps2-an386 -semihosting-config enable=on,target=native,arg=bare,arg=WHAT,arg=N -kernel bare.elf
 *
 * WHAT: load, run, prepare, frame or steps, N times (one digit); steps12: the first 12 (profile.h). MODEL: the file, when
 * this is compiled.
 */
#include "profile.h"

#define FRAME_WIDTH 640u
#define FRAME_HEIGHT 480u
enum { ARENA_BYTES = 2 << 20, WRITE0 = 4, GET_COMMAND_LINE = 0x15, EXIT = 0x18 };

__asm__(
    ".section .rodata\n"
    ".balign 16\n.global model_start\nmodel_start: .incbin \"" MODEL "\"\n"
    ".global model_end\nmodel_end: .byte 0\n"
    ".text\n");

extern const uint8_t model_start[], model_end[];
extern uint32_t stack_top;

static uint8_t arena[ARENA_BYTES] __attribute__((aligned(T2M_ALIGNMENT)));
static uint8_t pixels[FRAME_WIDTH * FRAME_HEIGHT * 3u];
static char line[256];

/* Arm semihosting: operation in r0, argument in r1. */
static void semihost(int operation, const void *argument) {
  register int r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

static void stop(int failed) {
  semihost(EXIT, (const void *)(failed ? 0x20023u : 0x20026u));
  for (;;) continue;
}

static void check(t2m_status status) {
  if (!status) return;
  semihost(WRITE0, t2m_status_text(status));
  semihost(WRITE0, "\n");
  stop(1);
}

static int main(void) {
  struct { char *text; uint32_t size; } request = {line, sizeof line};
  const t2m_room room = {0, 0, FRAME_WIDTH};
  const size_t size = (size_t)(model_end - model_start);
  t2m_model *model;
  t2m_frame frame = {0};
  semihost(GET_COMMAND_LINE, &request);
  const char *word = line;
  while (*word && *word != ' ') word++;
  const char what = word[1];
  uint32_t times = 0, steps = 0;
  for (const char *at = word; *at; at++) {
    if (*at < '0' || *at > '9') continue;
    steps = steps * 10u + times;
    times = (uint32_t)(*at - '0');
  }
  frame.width = FRAME_WIDTH;
  frame.height = FRAME_HEIGHT;
  frame.plane[0].data = pixels;
  frame.plane[0].size = sizeof pixels;
  check(t2m_open(&model, model_start, size, &room, arena, sizeof arena));
  check(t2m_run(model));
  for (uint32_t i = 0; i < times; i++) {
    if (what == 'l') check(t2m_open(&model, model_start, size, &room, arena, sizeof arena));
    if (what == 's')
      for (uint32_t step = 0; step < steps && step < profile_steps(model); step++) profile_step(model, step);
    if (what == 'p' || what == 'f') check(t2m_prepare(model, &frame));
    if (what == 'r' || what == 'f') check(t2m_run(model));
  }
  stop(0);
  return 0;
}

static void reset(void) {
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: full access to the floating-point unit */
  __asm__ volatile("dsb\nisb");
  main();
}

static void fault(void) {
  semihost(WRITE0, "fault\n");
  stop(1);
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))&stack_top, reset, fault, fault, fault, fault, fault,
};
