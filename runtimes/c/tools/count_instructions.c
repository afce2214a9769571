/* A qemu plugin that prints how many instructions a program ran: exact, repeatable counts, not times.
 *
 *     gcc -O2 -fPIC -shared count_instructions.c -o count.so
 *     qemu-aarch64 -plugin ./count.so -d plugin -cpu cortex-a72 PROGRAM
 *
 * Own declarations of qemu's plugin interface (version 1), since Debian ships no header for it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct qemu_plugin_tb;
typedef void (*translated)(uint64_t id, struct qemu_plugin_tb *block);
typedef void (*ended)(uint64_t id, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, translated callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *block, int operation, void *counter, uint64_t add);
void qemu_plugin_register_atexit_cb(uint64_t id, ended callback, void *data);
void qemu_plugin_outs(const char *text);
int qemu_plugin_install(uint64_t id, const void *info, int count, char **words);

int qemu_plugin_version = 1;

static uint64_t instructions;

static void on_translated(uint64_t id, struct qemu_plugin_tb *block) {
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, 0, &instructions, qemu_plugin_tb_n_insns(block));
}

static void on_end(uint64_t id, void *data) {
  char text[64];
  (void)id;
  (void)data;
  snprintf(text, sizeof text, "instructions %llu\n", (unsigned long long)instructions);
  qemu_plugin_outs(text);
}

int qemu_plugin_install(uint64_t id, const void *info, int count, char **words) {
  (void)info;
  (void)count;
  (void)words;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
  qemu_plugin_register_atexit_cb(id, on_end, NULL);
  return 0;
}
