#include "kernels.h"

#if defined(__aarch64__) && defined(__ARM_NEON) && !defined(T2M_NO_SIMD)

#include <arm_neon.h>

/* Channels that are computed together: their weights meet each block of the rows while it is in registers. */
enum { FILTERS = 4 };

static void widen_neon(int16_t *row, const int8_t *values, uint32_t count, int32_t zero) {
  const int8x8_t zeros = vdup_n_s8((int8_t)zero);
  uint32_t i = 0;
  for (; i + 8 <= count; i += 8) vst1q_s16(row + i, vsubl_s8(vld1_s8(values + i), zeros));
  for (; i < count; i++) row[i] = (int16_t)(values[i] - zero);
}

/* t2m_scale_twice for the sums of T2M_TILE pixels of one channel, and their range. */
static int32x4_t finish_neon(int32x4_t sums, const t2m_scaling *scaling, const t2m_product *p) {
  int32_t shift = scaling->shift, left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
  int32x4_t x = vshlq_s32(vaddq_s32(sums, vdupq_n_s32(scaling->bias)), vdupq_n_s32(left));
  x = vqrdmulhq_s32(x, vdupq_n_s32(scaling->multiplier));
  /* vrshlq rounds half up: one less for negative numbers makes it half away from zero. */
  int32x4_t rest = vandq_s32(x, vdupq_n_s32((int32_t)(((uint32_t)1 << right) - 1u)));
  int32x4_t half = vsubq_s32(vdupq_n_s32((int32_t)((((uint32_t)1 << right) - 1u) >> 1)), vshrq_n_s32(x, 31));
  x = vshlq_s32(x, vdupq_n_s32(-right));
  x = vsubq_s32(x, vreinterpretq_s32_u32(vcgtq_s32(rest, half)));
  x = vaddq_s32(x, vdupq_n_s32(p->zero));
  return vmaxq_s32(vminq_s32(x, vdupq_n_s32(p->high)), vdupq_n_s32(p->low));
}

/* Partial sums of one channel: a vector for each of T2M_TILE pixels. Named, not indexed, so that they stay in registers. */
typedef struct partial {
  int32x4_t p0, p1, p2, p3;
} partial;

static inline partial no_sums(void) {
  partial none = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  return none;
}

/* Lanes are pixels. */
static inline int32x4_t totals(partial sums) {
  return vpaddq_s32(vpaddq_s32(sums.p0, sums.p1), vpaddq_s32(sums.p2, sums.p3));
}

/* The weights of FILTERS channels from `channel` on; where there are fewer, the first again. */
typedef struct filters {
  const int8_t *a, *b, *c, *d;
  uint32_t count;
} filters;

static inline filters filters_from(const t2m_product *p, uint32_t channel) {
  const int8_t *first = p->weights + (size_t)channel * p->depth;
  uint32_t left = p->channels - channel, count = left < FILTERS ? left : FILTERS;
  filters found = {first, first + (count > 1 ? p->depth : 0), first + (count > 2 ? 2u * p->depth : 0),
                   first + (count > 3 ? 3u * p->depth : 0), count};
  return found;
}

/* The sums of FILTERS channels from `channel` on to the places of those that exist. */
static inline void put_sums(const t2m_product *p, uint32_t channel, uint32_t count, int32x4_t a, int32x4_t b,
                            int32x4_t c, int32x4_t d) {
  if (p->rounds_once) {
    int32_t found[FILTERS * T2M_TILE];
    vst1q_s32(found, a);
    vst1q_s32(found + T2M_TILE, b);
    vst1q_s32(found + 2 * T2M_TILE, c);
    vst1q_s32(found + 3 * T2M_TILE, d);
    t2m_finish_tile(p, channel, count, found);
    return;
  }
  const t2m_scaling *scaling = p->scaling + channel;
  const int32x4_t byte = vdupq_n_s32(0xFF);
  a = vandq_s32(finish_neon(a, scaling, p), byte);
  b = vandq_s32(finish_neon(b, scaling + (count > 1 ? 1 : 0), p), byte);
  c = vandq_s32(finish_neon(c, scaling + (count > 2 ? 2 : 0), p), byte);
  d = finish_neon(d, scaling + (count > 3 ? 3 : 0), p);
  /* One word a pixel, one byte a channel. */
  int32x4_t words = vorrq_s32(vorrq_s32(a, vshlq_n_s32(b, 8)), vorrq_s32(vshlq_n_s32(c, 16), vshlq_n_s32(d, 24)));
  uint32_t found[T2M_TILE];
  vst1q_u32(found, vreinterpretq_u32_s32(words));
  int8_t *out = p->out + channel;
  for (uint32_t i = 0; i < p->pixels; i++, out += p->channels) {
    out[0] = (int8_t)found[i];
    if (count > 1) out[1] = (int8_t)(found[i] >> 8);
    if (count > 2) out[2] = (int8_t)(found[i] >> 16);
    if (count > 3) out[3] = (int8_t)(found[i] >> 24);
  }
}

/* 16 values of a row. */
typedef struct block {
  int16x8_t low, high;
} block;

static inline block load_block(const int16_t *row) {
  block found = {vld1q_s16(row), vld1q_s16(row + 8)};
  return found;
}

static inline int32x4_t multiply(int32x4_t sums, block w, block x) {
  sums = vmlal_s16(sums, vget_low_s16(w.low), vget_low_s16(x.low));
  sums = vmlal_high_s16(sums, w.low, x.low);
  sums = vmlal_s16(sums, vget_low_s16(w.high), vget_low_s16(x.high));
  return vmlal_high_s16(sums, w.high, x.high);
}

static inline partial multiply_tile(partial sums, const int8_t *weights, block x0, block x1, block x2, block x3) {
  int8x16_t w = vld1q_s8(weights);
  block wide = {vmovl_s8(vget_low_s8(w)), vmovl_high_s8(w)};
  sums.p0 = multiply(sums.p0, wide, x0);
  sums.p1 = multiply(sums.p1, wide, x1);
  sums.p2 = multiply(sums.p2, wide, x2);
  sums.p3 = multiply(sums.p3, wide, x3);
  return sums;
}

static void product_neon(const t2m_product *p) {
  /* Under a whole block there is nothing to overlap with. */
  if (p->depth < T2M_BLOCK) {
    t2m_product_reference(p);
    return;
  }
  for (uint32_t channel = 0; channel < p->channels; channel += FILTERS) {
    filters weights = filters_from(p, channel);
    partial a = no_sums(), b = a, c = a, d = a;
    const int16_t *row0 = (const int16_t *)p->rows, *row1 = row0 + p->row_length, *row2 = row1 + p->row_length;
    const int16_t *row3 = row2 + p->row_length;
    for (uint32_t k = 0; k < p->row_length; k += T2M_BLOCK) {
      /* The last block of weights overlaps the one before; see rows.h. */
      uint32_t at = k + T2M_BLOCK <= p->depth ? k : p->depth - T2M_BLOCK;
      block x0 = load_block(row0 + k), x1 = load_block(row1 + k), x2 = load_block(row2 + k), x3 = load_block(row3 + k);
      a = multiply_tile(a, weights.a + at, x0, x1, x2, x3);
      b = multiply_tile(b, weights.b + at, x0, x1, x2, x3);
      c = multiply_tile(c, weights.c + at, x0, x1, x2, x3);
      d = multiply_tile(d, weights.d + at, x0, x1, x2, x3);
    }
    put_sums(p, channel, weights.count, totals(a), totals(b), totals(c), totals(d));
  }
}

const t2m_kernel *t2m_kernel_neon(void) {
  static const t2m_kernel kernel = {"neon", 2, widen_neon, NULL, product_neon, NULL};
  return &kernel;
}

/* Before version 16, clang has the intrinsics only where the whole build targets them. */
#if defined(__ARM_FEATURE_DOTPROD) || (defined(__clang__) ? __clang_major__ >= 16 : defined(__GNUC__))

/* The dot product instructions multiply four int8 pairs at once: rows of int8, corrected by the sum of the weights. */
#if defined(__clang__)
#define DOTPROD __attribute__((target("dotprod")))
#else
#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))
#endif

/* Whether the processor has them. Linux lets programs read the register; elsewhere the build must say so. */
static bool has_dotprod(void) {
#if defined(__ARM_FEATURE_DOTPROD)
  return true;
#elif defined(__linux__)
  uint64_t features;
  __asm__("mrs %0, ID_AA64ISAR0_EL1" : "=r"(features));
  return (features >> 44 & 15u) != 0;
#else
  return false;
#endif
}

static DOTPROD int32_t sum_weights(const int8_t *weights, uint32_t count) {
  const int8x16_t ones = vdupq_n_s8(1);
  int32x4_t sums = vdupq_n_s32(0);
  uint32_t i = 0;
  for (; i + 16 <= count; i += 16) sums = vdotq_s32(sums, vld1q_s8(weights + i), ones);
  int32_t sum = vaddvq_s32(sums);
  for (; i < count; i++) sum += weights[i];
  return sum;
}

static inline DOTPROD partial multiply_tile_dotprod(partial sums, int8x16_t w, int8x16_t x0, int8x16_t x1, int8x16_t x2,
                                                    int8x16_t x3) {
  sums.p0 = vdotq_s32(sums.p0, w, x0);
  sums.p1 = vdotq_s32(sums.p1, w, x1);
  sums.p2 = vdotq_s32(sums.p2, w, x2);
  sums.p3 = vdotq_s32(sums.p3, w, x3);
  return sums;
}

/* Rows shorter than a block: value by value. */
static void product_short(const t2m_product *p) {
  const int8_t *rows = (const int8_t *)p->rows;
  for (uint32_t channel = 0; channel < p->channels; channel++) {
    const int8_t *weights = p->weights + (size_t)channel * p->depth;
    int32_t sums[T2M_TILE] = {0, 0, 0, 0};
    for (uint32_t i = 0; i < p->pixels; i++)
      for (uint32_t k = 0; k < p->depth; k++) sums[i] += rows[i * p->row_length + k] * weights[k];
    t2m_finish_tile(p, channel, 1, sums);
  }
}

static DOTPROD void product_dotprod(const t2m_product *p) {
  if (p->depth < T2M_BLOCK) {
    product_short(p);
    return;
  }
  for (uint32_t channel = 0; channel < p->channels; channel += FILTERS) {
    filters weights = filters_from(p, channel);
    partial a = no_sums(), b = a, c = a, d = a;
    const int8_t *row0 = (const int8_t *)p->rows, *row1 = row0 + p->row_length, *row2 = row1 + p->row_length;
    const int8_t *row3 = row2 + p->row_length;
    for (uint32_t k = 0; k < p->row_length; k += T2M_BLOCK) {
      /* The last block of weights overlaps the one before; see rows.h. */
      uint32_t at = k + T2M_BLOCK <= p->depth ? k : p->depth - T2M_BLOCK;
      int8x16_t x0 = vld1q_s8(row0 + k), x1 = vld1q_s8(row1 + k), x2 = vld1q_s8(row2 + k), x3 = vld1q_s8(row3 + k);
      a = multiply_tile_dotprod(a, vld1q_s8(weights.a + at), x0, x1, x2, x3);
      b = multiply_tile_dotprod(b, vld1q_s8(weights.b + at), x0, x1, x2, x3);
      c = multiply_tile_dotprod(c, vld1q_s8(weights.c + at), x0, x1, x2, x3);
      d = multiply_tile_dotprod(d, vld1q_s8(weights.d + at), x0, x1, x2, x3);
    }
    put_sums(p, channel, weights.count, totals(a), totals(b), totals(c), totals(d));
  }
}

static void copy_neon(int8_t *row, const int8_t *values, uint32_t count) {
  uint32_t i = 0;
  for (; i + 16 <= count; i += 16) vst1q_s8(row + i, vld1q_s8(values + i));
  for (; i < count; i++) row[i] = values[i];
}

const t2m_kernel *t2m_kernel_dotprod(void) {
  static const t2m_kernel kernel = {"neon-dotprod", 1, NULL, copy_neon, product_dotprod, sum_weights};
  return has_dotprod() ? &kernel : NULL;
}

#else

const t2m_kernel *t2m_kernel_dotprod(void) { return NULL; }

#endif

#else

const t2m_kernel *t2m_kernel_neon(void) { return NULL; }

const t2m_kernel *t2m_kernel_dotprod(void) { return NULL; }

#endif
