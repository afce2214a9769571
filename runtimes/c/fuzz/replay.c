/* Runs a fuzz target on files, where there is no libFuzzer: replay FILE... */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *count, char ***words);

int main(int count, char **words) {
#ifdef HAS_START
  LLVMFuzzerInitialize(&count, &words);
#endif
  for (int i = 1; i < count; i++) {
    static uint8_t data[1 << 20];
    FILE *file = fopen(words[i], "rb");
    if (!file) {
      fprintf(stderr, "cannot read %s\n", words[i]);
      return 2;
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
  }
  return 0;
}
