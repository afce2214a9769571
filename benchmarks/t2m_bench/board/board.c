/* Measures classifiers of t2m-edge on a Linux board with nothing installed, and prints what it found as JSON.
 *
 *     board [OPTION=VALUE...] MODEL.tflite [OTHER.tflite]
 *
 * With two models, blocks of runs take turns. Options:
 *     milliseconds=N   steady state of each model: 10000
 *     head=FILE     a head file whose swap into the first model is timed
 *     profile=N     time each step of the first model (profile.h) in N rounds
 *     photos=FILE   prepared images, height x width x 3 bytes each, that the first model names
 *     remove=PATH   removed at once, when everything was read; may be given often (the program itself, its folder last)
 *     count=WHAT    nothing, load, run, prepare, frame or swap: only that, times= often, for a counter outside;
 *                   steps12: the first 12 steps
 *     times=N
 *
 * Times are nanoseconds. Exit status: 0, or 2 with one line on standard error.
 */
#include "linux.h"
#include "profile.h"

enum { MOST_MODELS = 2, MOST_RUNS = 1 << 21, FRAME_RUNS = 30, FEW_FRAMES = 5, SWAP_RUNS = 200, MIN_BLOCKS = 10, MOST_STEPS = 256 };
#define BLOCK_NANOSECONDS 100000000u
#define FRAME_NANOSECONDS 3000000000u /* after so long, FEW_FRAMES are enough */
#define WORD(x) #x
#define TEXT(x) WORD(x)
#ifdef __clang__
#define COMPILER "clang " TEXT(__clang_major__)
#else
#define COMPILER "gcc " TEXT(__GNUC__)
#endif
#define FRAME_WIDTH 640u
#define FRAME_HEIGHT 480u

/* Struct copies call these; the core's own ones are for machines with less. */
void *memcpy(void *to, const void *from, size_t count) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if ((((uintptr_t)out | (uintptr_t)in) & 7u) == 0)
    for (; count >= 8; count -= 8, out += 8, in += 8) *(uint64_t *)(void *)out = *(const uint64_t *)(const void *)in;
  while (count--) *out++ = *in++;
  return to;
}

void *memmove(void *to, const void *from, size_t count) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if (out <= in) return memcpy(to, from, count);
  while (count--) out[count] = in[count];
  return to;
}

void *memset(void *to, int value, size_t count) {
  uint8_t *out = to;
  while (count--) *out++ = (uint8_t)value;
  return to;
}

#if defined(__arm__)
/* What gcc's division calls for a divisor of zero. */
int raise(int signal);
int raise(int signal) {
  leave(128 + signal);
  return 0;
}
#endif

/* --- Text --- */

static size_t length(const char *text) {
  size_t n = 0;
  while (text[n]) n++;
  return n;
}

/* Whether text begins with a name and '='; then value is what follows. */
static bool option(const char *text, const char *name, const char **value) {
  while (*name && *text == *name) text++, name++;
  if (*name || *text != '=') return false;
  *value = text + 1;
  return true;
}

static bool same(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static bool begins(const char *text, const char *with) {
  while (*with && *text == *with) text++, with++;
  return !*with;
}

static uint64_t number(const char *text) {
  uint64_t n = 0;
  while (*text >= '0' && *text <= '9') n = n * 10u + (uint64_t)(*text++ - '0');
  return n;
}

static struct {
  char text[1 << 14];
  size_t used;
} out;

static void flush(void) {
  size_t done = 0;
  while (done < out.used) {
    long n = call(SYS_WRITE, 1, (long)(out.text + done), (long)(out.used - done), 0, 0, 0);
    if (n <= 0) leave(1);
    done += (size_t)n;
  }
  out.used = 0;
}

static void put(const char *text) {
  for (; *text; text++) {
    if (out.used == sizeof out.text) flush();
    out.text[out.used++] = *text;
  }
}

static void put_number(uint64_t n) {
  char digits[24];
  size_t at = sizeof digits;
  digits[--at] = 0;
  do digits[--at] = (char)('0' + n % 10u);
  while (n /= 10u);
  put(digits + at);
}

static void put_list(const char *name, const uint64_t *values, size_t count) {
  put(", \"");
  put(name);
  put("\": [");
  for (size_t i = 0; i < count; i++) {
    if (i) put(", ");
    put_number(values[i]);
  }
  put("]");
}

static void fail(const char *what, const char *why) {
  const char *parts[] = {what, ": ", why, "\n"};
  for (size_t i = 0; i < 4; i++) call(SYS_WRITE, 2, (long)parts[i], (long)length(parts[i]), 0, 0, 0);
  leave(2);
}

/* --- Files --- */

typedef struct file {
  uint8_t *data;
  size_t size;
} file;

static file read_file(const char *path) {
  file found = {NULL, 0};
  const long set = 0, end = 2;
  long from = open_file(path);
  if (from < 0) fail(path, from == NOT_FOUND ? "no such file" : "cannot be read");
  long size = call(SYS_LSEEK, from, 0, end, 0, 0, 0);
  call(SYS_LSEEK, from, 0, set, 0, 0, 0);
  if (size > 0) found.data = take((size_t)size);
  if (!found.data) fail(path, "is empty, or larger than the free memory");
  while (found.size < (size_t)size) {
    long n = call(SYS_READ, from, (long)(found.data + found.size), size - (long)found.size, 0, 0, 0);
    if (n <= 0) fail(path, "cannot be read to its end");
    found.size += (size_t)n;
  }
  close_file(from);
  return found;
}

/* The process's greatest resident memory in kB, from /proc/self/status; 0 where that says nothing. */
static uint64_t peak_memory(void) {
  static char text[4096];
  long from = open_file("/proc/self/status"), size = 0;
  if (from < 0) return 0;
  size = call(SYS_READ, from, (long)text, sizeof text - 1, 0, 0, 0);
  close_file(from);
  for (long i = 0; i + 6 < size; i++) {
    const char *at = text + i;
    if (at[0] != 'V' || at[1] != 'm' || at[2] != 'H' || at[3] != 'W' || at[4] != 'M') continue;
    while (*at && (*at < '0' || *at > '9')) at++;
    return number(at);
  }
  return 0;
}

/* --- Models --- */

typedef struct subject {
  const char *path;
  file data;
  t2m_model *model;
  size_t arena_size;
  uint64_t load, first;
  uint64_t *runs, *blocks, spent;
  size_t run_count, block_count;
} subject;

static void check(const char *path, t2m_status status) {
  if (status) fail(path, t2m_status_text(status));
}

/* The same noise in the input before every run, as a camera would write a frame there. */
static void fill(t2m_model *model) {
  static uint8_t *noise;
  static size_t size;
  size_t wanted = (size_t)t2m_height(model) * t2m_width(model) * 3u;
  if (wanted > size) {
    uint32_t state = 1;
    noise = take(wanted);
    if (!noise) fail("the input", "larger than the free memory");
    for (size = 0; size < wanted; size++) noise[size] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
  }
  memcpy(t2m_input(model), noise, wanted);
}

static void open_model(subject *s) {
  const t2m_room room = {.labels = 1000, .hidden = 0, .frame_side = FRAME_WIDTH};
  check(s->path, t2m_arena_size(s->data.data, s->data.size, NULL, &s->arena_size));
  size_t roomy;
  check(s->path, t2m_arena_size(s->data.data, s->data.size, &room, &roomy));
  void *arena = take(roomy);
  if (!arena) fail(s->path, "its arena is larger than the free memory");
  check(s->path, t2m_open(&s->model, s->data.data, s->data.size, &room, arena, roomy));
}

static void run(subject *s) {
  fill(s->model);
  check(s->path, t2m_run(s->model));
}

static t2m_frame camera_frame(void) {
  t2m_frame frame = {0};
  frame.format = T2M_RGB;
  frame.width = FRAME_WIDTH;
  frame.height = FRAME_HEIGHT;
  frame.plane[0].size = FRAME_WIDTH * FRAME_HEIGHT * 3u;
  uint8_t *pixels = take(frame.plane[0].size);
  if (!pixels) fail("a frame", "larger than the free memory");
  for (size_t i = 0; i < frame.plane[0].size; i++) pixels[i] = (uint8_t)(i * 31u >> 3);
  frame.plane[0].data = pixels;
  return frame;
}

static void classify(subject *s, const t2m_frame *frame) {
  t2m_class top[3];
  check(s->path, t2m_prepare(s->model, frame));
  check(s->path, t2m_run(s->model));
  check(s->path, t2m_top(s->model, top, 3, NULL, NULL));
}

/* --- Measuring --- */

static void sort(uint64_t *values, size_t count) {
  for (size_t gap = count / 2; gap; gap /= 2)
    for (size_t i = gap; i < count; i++) {
      uint64_t value = values[i];
      size_t at = i;
      for (; at >= gap && values[at - gap] > value; at -= gap) values[at] = values[at - gap];
      values[at] = value;
    }
}

/* Runs of about a tenth of a second; before quick ones a run that is not counted, for it finds the caches full of
 * something else. */
static void block(subject *s, uint64_t *scratch) {
  size_t from = s->run_count;
  if (!s->block_count || s->blocks[s->block_count - 1] < BLOCK_NANOSECONDS) run(s);
  uint64_t end = now() + BLOCK_NANOSECONDS;
  do {
    uint64_t began = now();
    run(s);
    uint64_t took = now() - began;
    s->runs[s->run_count++] = took;
    s->spent += took;
  } while (now() < end && s->run_count < MOST_RUNS);
  size_t count = s->run_count - from;
  memcpy(scratch, s->runs + from, count * sizeof *scratch);
  sort(scratch, count);
  s->blocks[s->block_count++] = count % 2 ? scratch[count / 2] : (scratch[count / 2 - 1] + scratch[count / 2]) / 2;
}

/* Blocks that take turns, until each model ran for so long. */
static void measure(subject *subjects, size_t models, uint64_t milliseconds) {
  const uint64_t most = MIN_BLOCKS + 2 * milliseconds / (BLOCK_NANOSECONDS / 1000000u);
  uint64_t *scratch = take(MOST_RUNS * sizeof *scratch);
  for (size_t i = 0; i < models; i++) {
    subjects[i].runs = take(MOST_RUNS * sizeof *scratch);
    subjects[i].blocks = take(most * sizeof *scratch);
    if (!scratch || !subjects[i].runs || !subjects[i].blocks) fail("the times", "larger than the free memory");
  }
  bool full = false, more = true;
  for (uint64_t n = 0; more && !full && n < most; n++) {
    more = n + 1 < MIN_BLOCKS;
    for (size_t i = 0; i < models; i++) {
      block(&subjects[i], scratch);
      more = more || subjects[i].spent < milliseconds * 1000000u;
      full = full || subjects[i].run_count == MOST_RUNS;
    }
  }
}

static void name_photos(subject *s, const file *photos) {
  size_t size = (size_t)t2m_height(s->model) * t2m_width(s->model) * 3u;
  put(", \"named\": [");
  for (size_t i = 0; (i + 1) * size <= photos->size; i++) {
    t2m_class best;
    memcpy(t2m_input(s->model), photos->data + i * size, size);
    check(s->path, t2m_run(s->model));
    check(s->path, t2m_top(s->model, &best, 1, NULL, NULL));
    if (i) put(", ");
    put_number(best.index);
  }
  put("]");
}

/* The least that the clock shows between two readings. */
static uint64_t clock_cost(void) {
  uint64_t least = UINT64_MAX;
  for (size_t i = 0; i < 200; i++) {
    uint64_t began = now(), took = now() - began;
    if (took < least) least = took;
  }
  return least;
}

/* Each step's median over the rounds, without what reading the clock takes. */
static void profile(subject *s, uint64_t rounds) {
  uint64_t medians[MOST_STEPS];
  const uint64_t reading = clock_cost();
  const uint32_t steps = profile_steps(s->model);
  uint64_t *times = take((size_t)(rounds * steps) * sizeof *times);
  if (!times || steps > MOST_STEPS) fail("the profile", "larger than the free memory");
  for (uint64_t round = 0; round < rounds; round++) {
    fill(s->model);
    for (uint32_t step = 0; step < steps; step++) {
      uint64_t began = now();
      profile_step(s->model, step);
      times[step * rounds + round] = now() - began;
    }
  }
  for (uint32_t step = 0; step < steps; step++) {
    sort(times + step * rounds, (size_t)rounds);
    uint64_t median = times[step * rounds + rounds / 2u];
    medians[step] = median > reading ? median - reading : 0;
  }
  put_list("profile", medians, steps);
}

/* How many frames were prepared, or classified, and the time of each: FRAME_RUNS of them, fewer on a slow board. */
static size_t time_frames(subject *s, const t2m_frame *frame, bool whole, uint64_t *times) {
  const uint64_t start = now();
  size_t done = 0;
  while (done < FRAME_RUNS && (done < FEW_FRAMES || now() - start < FRAME_NANOSECONDS)) {
    uint64_t began = now();
    if (whole) classify(s, frame);
    else check(s->path, t2m_prepare(s->model, frame));
    times[done++] = now() - began;
  }
  return done;
}

static void print_model(subject *s, const t2m_frame *frame, const file *head, const file *photos, uint64_t rounds) {
  uint64_t times[SWAP_RUNS];
  put("{\"engine\": \"core " T2M_VERSION " ");
  put(t2m_kernels(s->model));
  put(" " COMPILER);
  put("\", \"load\": ");
  put_number(s->load);
  put(", \"first\": ");
  put_number(s->first);
  put(", \"arena\": ");
  put_number(s->arena_size);
  put(", \"peak_kb\": ");
  put_number(peak_memory());
  put_list("runs", s->runs, s->run_count);
  put_list("blocks", s->blocks, s->block_count);
  check(s->path, t2m_prepare(s->model, frame));
  put_list("prepare", times, time_frames(s, frame, false, times));
  put_list("frame", times, time_frames(s, frame, true, times));
  if (head->data) {
    for (size_t i = 0; i < SWAP_RUNS; i++) {
      uint64_t began = now();
      check("the head", t2m_swap_head(s->model, head->data, head->size));
      times[i] = now() - began;
    }
    put_list("swap", times, SWAP_RUNS);
    check(s->path, t2m_swap_head(s->model, NULL, 0));
  }
  if (rounds) profile(s, rounds);
  if (photos->data) name_photos(s, photos);
  put("}");
}

/* What a counter outside counts: everything up to here is the same for any number of times. */
static void count(subject *s, const char *what, uint64_t times, const file *head, const t2m_frame *frame) {
  run(s);
  for (uint64_t i = 0; i < times; i++) {
    if (same(what, "load")) open_model(s);
    else if (same(what, "run")) run(s);
    else if (same(what, "prepare")) check(s->path, t2m_prepare(s->model, frame));
    else if (same(what, "frame")) classify(s, frame);
    else if (same(what, "swap")) check("the head", t2m_swap_head(s->model, head->data, head->size));
    else if (begins(what, "steps")) {
      fill(s->model);
      for (uint32_t step = 0; step < number(what + 5) && step < profile_steps(s->model); step++)
        profile_step(s->model, step);
    } else if (!same(what, "nothing")) fail(what, "is nothing to count");
  }
  put("{\"engine\": \"core " T2M_VERSION " ");
  put(t2m_kernels(s->model));
  put(" " COMPILER);
  put("\", \"arena\": ");
  put_number(s->arena_size);
  put("}\n");
  flush();
}

__attribute__((used)) void start_c(const long *stack) {
  int words = (int)stack[0];
  const char *const *word = (const char *const *)(stack + 1);
  subject subjects[MOST_MODELS] = {0};
  file head = {NULL, 0}, photos = {NULL, 0};
  const char *value, *counted = NULL;
  uint64_t milliseconds = 10000, times = 1, rounds = 0;
  size_t models = 0;
  for (int i = 1; i < words; i++) {
    if (option(word[i], "milliseconds", &value)) milliseconds = number(value);
    else if (option(word[i], "head", &value)) head = read_file(value);
    else if (option(word[i], "photos", &value)) photos = read_file(value);
    else if (option(word[i], "count", &value)) counted = value;
    else if (option(word[i], "times", &value)) times = number(value);
    else if (option(word[i], "profile", &value)) rounds = number(value);
    else if (option(word[i], "remove", &value)) remove_path(value);
    else if (models == MOST_MODELS) fail(word[i], "is one model too many");
    else {
      subject *s = &subjects[models++];
      s->path = word[i];
      uint64_t began = now();
      s->data = read_file(s->path);
      open_model(s);
      s->load = now() - began;
    }
  }
  if (!models) fail("usage", "board [OPTION=VALUE...] MODEL.tflite [OTHER.tflite]");
  const t2m_frame frame = camera_frame();
  if (counted) {
    count(&subjects[0], counted, times, &head, &frame);
    leave(0);
  }
  for (size_t i = 0; i < models; i++) {
    uint64_t began = now();
    run(&subjects[i]);
    subjects[i].first = now() - began;
  }
  measure(subjects, models, milliseconds);
  const file none = {NULL, 0};
  put("[");
  for (size_t i = 0; i < models; i++) {
    if (i) put(", ");
    print_model(&subjects[i], &frame, i ? &none : &head, i ? &none : &photos, i ? 0 : rounds);
  }
  put("]\n");
  flush();
  leave(0);
}
