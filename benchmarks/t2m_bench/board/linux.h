/* The few system calls of Linux that the program makes, without a libc: one small static file for each architecture,
 * built in seconds by any compiler. Numbers and registers: Linux's asm/unistd.h and syscall(2).
 */
#ifndef BOARD_LINUX_H
#define BOARD_LINUX_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
enum { SYS_READ = 0, SYS_WRITE = 1, SYS_CLOSE = 3, SYS_LSEEK = 8, SYS_MMAP = 9, SYS_EXIT = 231, SYS_OPENAT = 257,
       SYS_UNLINKAT = 263, SYS_CLOCK = 228 };

static long call(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}
#define START "mov %rsp, %rdi\n and $-16, %rsp\n call start_c\n"

#elif defined(__aarch64__) || (defined(__riscv) && __riscv_xlen == 64)
enum { SYS_READ = 63, SYS_WRITE = 64, SYS_CLOSE = 57, SYS_LSEEK = 62, SYS_MMAP = 222, SYS_EXIT = 94, SYS_OPENAT = 56,
       SYS_UNLINKAT = 35, SYS_CLOCK = 113 };

static long call(long number, long a, long b, long c, long d, long e, long f) {
#if defined(__aarch64__)
  register long n __asm__("x8") = number, a0 __asm__("x0") = a, a1 __asm__("x1") = b, a2 __asm__("x2") = c,
                a3 __asm__("x3") = d, a4 __asm__("x4") = e, a5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(a0) : "r"(n), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
#else
  register long n __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c,
                a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(n), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
#endif
  return a0;
}
#if defined(__aarch64__)
#define START "mov x0, sp\n and sp, x0, #-16\n bl start_c\n"
#else
#define START ".option push\n .option norelax\n lla gp, __global_pointer$\n .option pop\n" \
  "mv a0, sp\n andi sp, sp, -16\n call start_c\n"
#endif

#elif defined(__arm__)
enum { SYS_READ = 3, SYS_WRITE = 4, SYS_CLOSE = 6, SYS_LSEEK = 19, SYS_MMAP = 192, SYS_EXIT = 248, SYS_OPENAT = 322,
       SYS_UNLINKAT = 328, SYS_CLOCK = 263 };

/* r7 holds the number, and is the frame pointer of Thumb code: so it is set inside. */
static long call(long number, long a, long b, long c, long d, long e, long f) {
  register long a0 __asm__("r0") = a, a1 __asm__("r1") = b, a2 __asm__("r2") = c, a3 __asm__("r3") = d,
                a4 __asm__("r4") = e, a5 __asm__("r5") = f;
  __asm__ volatile("mov r6, r7\n mov r7, %1\n svc 0\n mov r7, r6"
                   : "+r"(a0)
                   : "r"(number), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5)
                   : "r6", "memory");
  return a0;
}
#define START "mov r0, sp\n bic r1, r0, #7\n mov sp, r1\n bl start_c\n"

#else
#error "no system calls for this architecture"
#endif

__asm__(".text\n.globl _start\n_start:\n" START);

enum { AT_FDCWD = -100, AT_REMOVEDIR = 0x200, NOT_FOUND = -2 };

static void leave(int status) {
  for (;;) call(SYS_EXIT, status, 0, 0, 0, 0, 0);
}

static long open_file(const char *path) { return call(SYS_OPENAT, AT_FDCWD, (long)path, 0, 0, 0, 0); }

static void close_file(long file) { call(SYS_CLOSE, file, 0, 0, 0, 0, 0); }

/* Removes a file, or an empty folder. */
static void remove_path(const char *path) {
  if (call(SYS_UNLINKAT, AT_FDCWD, (long)path, 0, 0, 0, 0)) call(SYS_UNLINKAT, AT_FDCWD, (long)path, AT_REMOVEDIR, 0, 0, 0);
}

/* Zeroed memory, aligned to a page; NULL where there is none. */
static void *take(size_t size) {
  const long read_write = 3, private_anonymous = 0x22;
  long at = call(SYS_MMAP, 0, (long)size, read_write, private_anonymous, -1, 0);
  return at < 0 && at > -4096 ? NULL : (void *)at;
}

/* Nanoseconds of the monotonic clock. */
static uint64_t now(void) {
  struct { long seconds, nanoseconds; } time;
  const long monotonic = 1;
  call(SYS_CLOCK, monotonic, (long)&time, 0, 0, 0, 0);
  return (uint64_t)time.seconds * 1000000000u + (uint64_t)time.nanoseconds;
}

#endif
