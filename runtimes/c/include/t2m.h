/* t2m.h: runs the image classifiers that t2m-edge compiles. C99, no libc, no heap, no global state.
 *
 *     size_t size;
 *     t2m_model *model;
 *     t2m_arena_size(file, file_size, NULL, &size);
 *     t2m_open(&model, file, file_size, NULL, arena, size);          arena: size bytes of yours, aligned to 16
 *     t2m_prepare(model, &frame);                                    camera frame -> model input
 *     t2m_run(model);
 *     t2m_top(model, top, 3, &count, &rejected);                     best classes, none-of-these
 *     t2m_label(model, top[0].index, name, sizeof name);
 *
 * Memory: everything that a model needs at run time lies in the arena, and nothing else is ever allocated. The file is
 * read where it lies (flash, mmap) and must outlive the model, as must a head file that was swapped in.
 *
 * Threads: a t2m_model and its arena belong to one thread at a time. Any number of models may share one file, and
 * different models may run in different threads: there is no shared state. Functions that take a const t2m_model may
 * run at the same time on the same model.
 *
 * Hostile input: no bytes of a model, head or frame make the core read or write outside the memory that it was given.
 * What it cannot use, it refuses with a status.
 */
#ifndef T2M_H
#define T2M_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef T2M_API
#define T2M_API
#endif

#define T2M_VERSION "0.1.0"

/* The alignment in bytes that model files and arenas need. */
#define T2M_ALIGNMENT 16

/* The longest label in bytes, with the NUL at its end: 1000 characters of UTF-8. */
#define T2M_LABEL_BYTES 4001

typedef enum t2m_status {
  T2M_OK = 0,
  T2M_ERROR_ARGUMENT,         /* a pointer is NULL, or a number is out of its range */
  T2M_ERROR_ALIGNMENT,        /* the file or the arena does not start at a multiple of T2M_ALIGNMENT */
  T2M_ERROR_NOT_A_MODEL,      /* not a .tflite file */
  T2M_ERROR_BROKEN_MODEL,     /* a .tflite that is damaged or cut short */
  T2M_ERROR_UNSUPPORTED,      /* a .tflite with operators, shapes or types that t2m-edge does not write */
  T2M_ERROR_NO_MANIFEST,      /* a .tflite or safetensors file that t2m-edge did not make */
  T2M_ERROR_BROKEN_MANIFEST,  /* the manifest is damaged or does not fit the model or the head */
  T2M_ERROR_NEWER,            /* made by a later t2m-edge than this core knows */
  T2M_ERROR_ARENA_TOO_SMALL,  /* fewer bytes than t2m_arena_size gives */
  T2M_ERROR_BROKEN_HEAD,      /* not a head file, damaged or cut short */
  T2M_ERROR_HEAD_MISMATCH,    /* a head for another backbone or precision */
  T2M_ERROR_HEAD_TOO_LARGE,   /* a head with more labels or a wider hidden layer than t2m_room gave room for */
  T2M_ERROR_NO_HEAD,          /* a backbone alone: swap a head in first */
  T2M_ERROR_FRAME,            /* a frame whose planes are smaller than its size, stride and format claim */
  T2M_ERROR_FRAME_TOO_LARGE,  /* a frame larger than t2m_room gave room for */
  T2M_ERROR_NOT_RUN,          /* scores asked before a successful t2m_run */
  T2M_ERROR_NOT_FINITE,       /* the model gave scores that are not finite numbers */
  T2M_ERROR_PRECISION,        /* an fp16 or int8-dynamic model: the core runs int8 and fp32 */
  T2M_ERROR_ENGINE,           /* an engine failed (engines/t2m_engines.h) */
  T2M_STATUS_COUNT
} t2m_status;

/* One line of English for a status, for logs. Never NULL; static storage; any thread. */
T2M_API const char *t2m_status_text(t2m_status status);

/* An open model: lies at the start of its arena. */
typedef struct t2m_model t2m_model;

/* What to leave room for in the arena beyond the model itself. Every 0 means the default. */
typedef struct t2m_room {
  uint32_t labels;     /* most labels of a head that will be swapped in; default: those of the model's own head */
  uint32_t hidden;     /* widest hidden layer of such a head; default: that of the model's own head, or none */
  uint32_t frame_side; /* longest side, in pixels, of what is left of a frame after the crop; default 1920 */
} t2m_room;

/* Bytes of arena that a model needs: the same number on every platform, and the one that t2m-edge prints.
 *
 * data, size: a compiled .tflite, aligned to T2M_ALIGNMENT. room: NULL for the defaults. bytes: the result.
 * Any thread. Uses about 3 kB of stack, as does t2m_open.
 */
T2M_API t2m_status t2m_arena_size(const void *data, size_t size, const t2m_room *room, size_t *bytes);

/* Opens a model in place.
 *
 * data, size: a compiled .tflite (or a pack's backbone.tflite, which has no head yet), aligned to T2M_ALIGNMENT; read
 * where it lies, never written; must stay until the model is no longer used. room: as given to t2m_arena_size.
 * arena: arena_size bytes, aligned to T2M_ALIGNMENT, yours before and after; there is nothing to close.
 * model: the result, a pointer into the arena; untouched where the status is not T2M_OK.
 */
T2M_API t2m_status t2m_open(t2m_model **model, const void *data, size_t size, const t2m_room *room, void *arena,
                            size_t arena_size);

/* Puts a head file (.t2mh) in the place of the current head: microseconds, no copy.
 *
 * data, size: the head file, aligned to T2M_ALIGNMENT; it must stay while it is in use. NULL, 0: the model's own head
 * again. A head for another backbone or precision is refused. On any error the current head stays.
 */
T2M_API t2m_status t2m_swap_head(t2m_model *model, const void *data, size_t size);

/* Size of the input image in pixels. */
T2M_API uint32_t t2m_height(const t2m_model *model);
T2M_API uint32_t t2m_width(const t2m_model *model);

/* The model's input: height x width x 3 bytes, RGB, row by row. t2m_prepare writes it, or you do.
 * t2m_run overwrites it (its memory serves again): fill it before every run.
 */
T2M_API uint8_t *t2m_input(t2m_model *model);

/* Runs the model on its input. */
T2M_API t2m_status t2m_run(t2m_model *model);

/* How many labels the current head has; 0 where there is none. */
T2M_API uint32_t t2m_label_count(const t2m_model *model);

/* The scores of the last t2m_run: t2m_label_count floats, softmax (or logits, or a sigmoid for each class, where the
 * manifest says so), also where the file gives its scores as integers.
 * Valid until the next t2m_run, t2m_prepare or t2m_swap_head. NULL before the first successful run.
 */
T2M_API const float *t2m_scores(const t2m_model *model);

/* The last backbone output, before the head: what t2m_run computed. int8 or float, as the model's precision.
 * count: how many features. is_int8: their type. NULL before the first successful run.
 */
T2M_API const void *t2m_features(const t2m_model *model, uint32_t *count, bool *is_int8);

/* Copies a label, UTF-8 with a NUL at its end, into text. room: bytes at text; T2M_LABEL_BYTES is always enough.
 * T2M_ERROR_ARGUMENT where the index is out of range or the room too small.
 */
T2M_API t2m_status t2m_label(const t2m_model *model, uint32_t index, char *text, size_t room);

/* One class of an answer. */
typedef struct t2m_class {
  uint32_t index; /* of the label */
  float score;
} t2m_class;

/* The best classes of the last run, best first; equal scores keep the order of the labels.
 *
 * top: room for most entries. count: how many were written. rejected: true where the best score is under its class's
 * threshold ("none of these"), of a multi-label model where no class is present; the classes are listed all the same.
 * count and rejected may be NULL.
 */
T2M_API t2m_status t2m_top(const t2m_model *model, t2m_class *top, uint32_t most, uint32_t *count, bool *rejected);

/* Whether a class's score of the last run reaches its threshold; without one, whether it reaches 0.5 in a multi-label
 * model (its scores are sigmoids, and any number of classes may be present), and always in others.
 */
T2M_API t2m_status t2m_present(const t2m_model *model, uint32_t index, bool *present);

/* How the pixels of a frame are stored. */
typedef enum t2m_format {
  T2M_RGB,  /* 3 bytes a pixel */
  T2M_RGBA, /* 4 bytes; transparency is laid over white */
  T2M_BGRA,
  T2M_RGBX, /* 4 bytes, the last one ignored */
  T2M_BGRX,
  T2M_GRAY, /* 1 byte */
  T2M_NV12, /* plane 0: Y; plane 1: U and V in turn, one pair for 2 x 2 pixels */
  T2M_NV21, /* the same with V before U */
  T2M_I420, /* planes Y, U, V; step 2 on planes 1 and 2 reads Android's YUV_420_888 */
  T2M_FORMAT_COUNT
} t2m_format;

/* Which numbers Y, U and V are. */
typedef enum t2m_yuv {
  T2M_BT601_FULL,    /* JPEG and most camera APIs; the same bytes as Pillow's YCbCr */
  T2M_BT601_LIMITED, /* Y from 16 to 235 */
  T2M_BT709_LIMITED, /* high-definition video */
  T2M_YUV_COUNT
} t2m_yuv;

typedef struct t2m_plane {
  const uint8_t *data;
  size_t size;     /* bytes that may be read at data */
  uint32_t stride; /* bytes from one row to the next; 0: rows follow each other without a gap */
  uint32_t step;   /* bytes from one sample to the next; 0: as the format says */
} t2m_plane;

/* A camera frame, read where it lies during t2m_prepare only. Zero the struct, then set what you need. */
typedef struct t2m_frame {
  t2m_format format;
  t2m_yuv yuv;
  uint32_t width, height; /* as stored, before the rotation */
  uint32_t rotation;      /* clockwise turn that makes the frame upright: 0, 90, 180 or 270 degrees */
  t2m_plane plane[3];
} t2m_frame;

/* Frame -> model input: colour, rotation, the manifest's crop, then Pillow's BILINEAR resize; the same bytes as
 * t2m_runtime.prepare in Python. Scores of an earlier run are no longer valid.
 */
T2M_API t2m_status t2m_prepare(t2m_model *model, const t2m_frame *frame);

/* Something else that runs a whole model, such as LiteRT with a GPU delegate: engines/t2m_engines.h makes some.
 *
 * image: the model's input, size = height x width x 3 bytes. scores: `count` floats to write, one for each label, as
 * the model gives them: integers as floats of the same value. context: as in the struct. Returns T2M_OK or
 * T2M_ERROR_ENGINE. Called by t2m_run, in its thread.
 */
typedef struct t2m_engine {
  const char *name; /* what t2m_kernels gives */
  t2m_status (*run)(void *context, const uint8_t *image, size_t size, float *scores, uint32_t count);
  void *context;
} t2m_engine;

/* The kernels in use: "reference", "avx2", "avx512-vnni", "neon", "neon-dotprod" or "wasm-simd". All give the same
 * bits. Where an engine runs the model: its name.
 */
T2M_API const char *t2m_kernels(const t2m_model *model);

/* Chooses kernels by name; NULL: the best that this build and this processor have (as t2m_open does).
 * T2M_ERROR_ARGUMENT where this build or this processor does not have them; the choice then stays as it was.
 */
T2M_API t2m_status t2m_set_kernels(t2m_model *model, const char *name);

#ifdef __cplusplus
}
#endif

#endif
