/* What the files of the core share: the layout of an arena, an operator's record, the kernels. */
#ifndef T2M_CORE_H
#define T2M_CORE_H

#include "t2m.h"

/* The largest model or head file: the same limit as t2m_runtime's MAX_ARTIFACT_BYTES. */
#define T2M_MAX_FILE (1u << 28)
#define T2M_MAX_OPERATORS 128u
#define T2M_MAX_SIDE 4096u
#define T2M_MAX_CHANNELS 16384u
/* Values of one dot product: 255 * 128 * 32768 < 2**30, so that int32 sums cannot overflow before the bias. */
#define T2M_MAX_DEPTH 32768u
#define T2M_MAX_LABELS 10000u
#define T2M_MAX_FRAME_SIDE 32768u
#define T2M_DEFAULT_FRAME_SIDE 1920u

/* Pixels that a kernel computes at a time; the rows that they read stay in the cache for all output channels. */
#define T2M_TILE 4u
/* Values that a kernel multiplies at a time. */
#define T2M_BLOCK 16u

static inline uint32_t t2m_align(uint32_t size) { return (size + T2M_ALIGNMENT - 1u) & ~(T2M_ALIGNMENT - 1u); }

/* For what runs once for each model, head or frame: compilers then make it small rather than fast. */
#if defined(__GNUC__)
#define T2M_ONCE __attribute__((cold))
#else
#define T2M_ONCE
#endif

/* Bytes at a place that belong to somebody else. */
typedef struct t2m_bytes {
  const uint8_t *data;
  uint32_t size;
} t2m_bytes;

/* Little-endian numbers at any address. */
static inline uint32_t t2m_load_u16(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }
static inline uint32_t t2m_load_u32(const uint8_t *at) { return t2m_load_u16(at) | t2m_load_u16(at + 2) << 16; }
static inline float t2m_load_f32(const uint8_t *at) {
  union {
    uint32_t bits;
    float value;
  } pun;
  pun.bits = t2m_load_u32(at);
  return pun.value;
}

typedef enum t2m_kind {
  T2M_CONV,      /* CONV_2D, and FULLY_CONNECTED as a 1x1 convolution of one pixel */
  T2M_DEPTHWISE, /* DEPTHWISE_CONV_2D, one filter a channel */
  T2M_ADD,
  T2M_MEAN, /* over height and width */
  T2M_UNIT, /* L2_NORMALIZATION */
  T2M_QUANTIZE,
  T2M_DEQUANTIZE
} t2m_kind;

/* One operator, checked: 112 bytes on every platform. Tensors are NHWC with one image. */
typedef struct t2m_operator {
  uint32_t kind;                  /* t2m_kind */
  uint16_t is_int8;               /* 1: int8 tensors, 0: float (the source of QUANTIZE and DEQUANTIZE is uint8) */
  uint16_t dense;                 /* 1: FULLY_CONNECTED */
  uint32_t input, other, output;  /* tensor numbers while a file is read, then positions in the arena */
  uint32_t in_height, in_width, in_channels;
  uint32_t out_height, out_width, out_channels;
  uint32_t kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
  uint32_t weight, bias;          /* positions in the file; bias 0: none */
  uint32_t weight_scale;          /* position of the scales; int8 only */
  uint32_t weight_scales;         /* how many: 1 or out_channels */
  float input_scale, other_scale, output_scale;
  int32_t input_zero, other_zero, output_zero;
  uint32_t relu;                  /* 1: negative results become 0 */
} t2m_operator;

typedef char t2m_operator_has_112_bytes[sizeof(t2m_operator) == 112 ? 1 : -1];

/* What the scores of a model are. */
typedef enum t2m_scoring {
  T2M_LOGITS,
  T2M_SOFTMAX, /* they sum to 1 */
  T2M_SIGMOID  /* each class by itself: a multi-label model */
} t2m_scoring;

/* What the core needs of a manifest; positions are in the file that holds it. */
typedef struct t2m_facts {
  uint32_t begin, end;       /* of the manifest's text */
  uint32_t quoted;           /* 1: the text lies inside a JSON string (head files) */
  uint32_t labels;           /* position of the first label */
  uint32_t label_count;
  uint32_t thresholds;       /* position of the first threshold; 0: none */
  uint32_t threshold_count;
  uint32_t backbone;         /* position of backbone_sha256's first digit */
  uint32_t height, width;
  uint32_t stretch;          /* 1: crop "stretch", 0: "center" */
  uint32_t scores;           /* t2m_scoring */
  float output_scale;        /* of scores that the file gives as integers: (number - output_zero) * output_scale; or 0 */
  int32_t output_zero;
} t2m_facts;

/* The head in use: one or two layers and what its manifest says. */
typedef struct t2m_head {
  t2m_bytes file; /* what the positions of its layers and facts mean: the model or a head file */
  t2m_facts facts;
  uint32_t layer_count; /* 0: no head */
  t2m_operator layer[2];
} t2m_head;

/* The arithmetic of a layer's output channels, one table for each number:
 * out = zero + (sum + bias) * multiplier * 2**(shift - 31).
 */
typedef struct t2m_scaling {
  int32_t *bias, *multiplier, *shift; /* (channels) each */
} t2m_scaling;

/* A product of T2M_TILE (or fewer) rows with all filters of a layer. */
typedef struct t2m_product {
  const void *rows[T2M_TILE]; /* int16 or int8 values, see rows.h; those beyond `pixels` repeat the first */
  uint32_t pixels;            /* 1 to T2M_TILE */
  const int8_t *weights;      /* (channels, depth) */
  uint32_t depth, channels;
  t2m_scaling scaling;
  int32_t zero, low;    /* output zero point and lowest output */
  uint32_t rounds_once; /* 1: scaled by t2m_scale_once, 0: by t2m_scale_twice */
  uint32_t has_lowest;  /* 1: some weight is -128; int8 rows only */
  int8_t *out;          /* (pixels, channels) */
} t2m_product;

/* ADD: out = zero[2] + t2m_scale_twice(of the sum of both, each (x - zero) * 2**20 scaled the same way). */
typedef struct t2m_addition {
  int32_t multiplier[3], shift[3], zero[3]; /* of the first input, the second, the output */
  int32_t low;                              /* lowest output */
} t2m_addition;

/* A row of pixels: planes of red, green and blue, `plane` bytes apart; T2M_BLOCK bytes more than pixels may be read. */
typedef struct t2m_pixels {
  uint8_t *data;
  uint32_t plane;
} t2m_pixels;

/* What Y, U and V contribute to red, green and blue: 6-bit fixed point times 2**T2M_FACTOR_BITS, for each level. */
typedef struct t2m_yuv_factors {
  int32_t black; /* the level of Y that is black; of U and V 128 is none */
  int32_t y, red_v, green_u, green_v, blue_u;
} t2m_yuv_factors;

enum { T2M_FACTOR_BITS = 16 };

/* U makes blue, V makes red, and both have a part in green. */
typedef struct t2m_chroma_part {
  const uint8_t *samples;
  int32_t factor, green; /* to its own colour and to green, as t2m_yuv_factors has them */
  int16_t *offsets;      /* (count) of its own colour, 6-bit fixed point */
} t2m_chroma_part;

/* One line of chroma samples. */
typedef struct t2m_chroma {
  t2m_chroma_part first, second; /* U and V, or V and U */
  int64_t step; /* from one sample to the next: 1; or 2 where both stand in turn, the second's one byte behind */
  uint32_t count;
  int16_t *green; /* (count) offsets: what both contribute */
} t2m_chroma;

/* One row of a YUV frame: out = (y[luma] + offset) >> 6 for each colour, clamped. Two pixels share each offset. */
typedef struct t2m_colours {
  const uint8_t *luma; /* (count) */
  const t2m_yuv_factors *factors;
  const int16_t *red, *green, *blue; /* ((count + 1) / 2) offsets, 6-bit fixed point */
  uint32_t count;
  t2m_pixels out;
} t2m_colours;

/* Lines that are gathered at a time, where there is memory for them. */
#define T2M_GATHERED 16u

/* Lines whose samples lie apart, each laid in one piece: to[k * pitch + i] = from[k * stride + i * step]. */
typedef struct t2m_gathering {
  const uint8_t *from;
  int64_t stride, step;
  uint32_t lines, count;
  uint8_t *to;
  uint32_t pitch;
} t2m_gathering;

/* The source pixels that one output pixel sees. */
typedef struct t2m_span {
  uint32_t first, count;
} t2m_span;

/* Weights of a resize are fixed point with 22 bits: 32 less 8 of a pixel, less 2 for the sum (Pillow's PRECISION_BITS).
 * A horizontal one has them in two parts, so that 16-bit products serve: high * 2**11 + low.
 */
enum { T2M_WEIGHT_BITS = 22, T2M_LOW_BITS = 11 };

/* One row of a horizontal resize: planes -> `width` RGB pixels. */
typedef struct t2m_resize {
  t2m_pixels pixels;
  const t2m_span *spans;     /* (width) */
  const int16_t *low, *high; /* (width, taps): zeros after the span's */
  uint32_t taps, width;      /* taps: a multiple of T2M_BLOCK */
  uint8_t *row;
} t2m_resize;

/* One row of a vertical resize: out = the sum of `count` rows, each times its weight. */
typedef struct t2m_blend {
  const uint8_t *rows; /* (count, width) */
  const int32_t *weights;
  uint32_t count, width; /* width: in bytes */
  uint8_t *out;
} t2m_blend;

/* One way of computing. All give the same bits. */
typedef struct t2m_kernel {
  const char *name;
  uint32_t row_bytes; /* 2: rows hold int16 (value - zero point); 1: int8 values, corrected by the sum of the weights */
  /* `lines` lines of `count` values to a row; steps: values from one line to the next. */
  void (*copy)(void *row, uint32_t row_step, const int8_t *values, uint32_t step, uint32_t count, uint32_t lines,
               int32_t zero);
  void (*pad)(void *row, uint32_t count, int32_t zero);
  void (*product)(const t2m_product *product);
  /* row_bytes 1: bias -= zero * (sum of the channel's weights), since sum(w * (x - zero)) = sum(w * x) - zero * sum(w);
   * and has_lowest. */
  void (*correct)(t2m_product *product, int32_t zero);
  void (*add)(const t2m_addition *addition, const int8_t *a, const int8_t *b, int8_t *out, uint32_t count);
  void (*gather)(const t2m_gathering *lines);
  void (*offsets)(const t2m_chroma *line, uint32_t from); /* from sample `from` on */
  void (*colour)(const t2m_colours *row);
  void (*across)(const t2m_resize *resize);
  void (*down)(const t2m_blend *blend, uint32_t from); /* from column `from` on */
} t2m_kernel;

/* kernels.c: by name; NULL name: the best one here. NULL where there is none of that name. */
T2M_ONCE const t2m_kernel *t2m_find_kernel(const char *name);

/* Where the parts of an arena lie. */
typedef struct t2m_layout {
  uint32_t operators; /* t2m_operator[operator_count] */
  uint32_t operator_count;
  uint32_t hidden, logits, scores; /* of the head */
  uint32_t hidden_room, label_room;
  uint32_t input;     /* the image: first of the tensors */
  uint32_t features;
  uint32_t feature_count;
  uint32_t scratch;   /* after the tensors */
  uint32_t size;      /* of the whole arena */
} t2m_layout;

#define T2M_MODEL_BYTES 768u

struct t2m_model {
  t2m_bytes file;
  uint8_t *arena;
  const t2m_kernel *kernel;
  t2m_engine engine; /* run NULL: the core runs the model */
  t2m_facts facts;   /* of the model file */
  t2m_head head;
  t2m_layout layout;
  uint32_t is_int8;
  uint32_t ran; /* 1: scores and features are those of the last run */
};

typedef char t2m_model_fits_its_place[sizeof(struct t2m_model) <= T2M_MODEL_BYTES ? 1 : -1];

static inline const t2m_operator *t2m_operators(const t2m_model *model) {
  return (const t2m_operator *)(const void *)(model->arena + model->layout.operators);
}

#endif
