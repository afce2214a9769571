#include "kernels.h"
#include "numbers.h"

#if defined(__aarch64__) && defined(__ARM_NEON) && defined(__GNUC__) && !defined(T2M_NO_SIMD)

#include <arm_neon.h>

/* Two kernels of one shape: rows of int8, corrected by the sum of the weights. They differ in how 16 products are added
 * to four sums: the dot product instructions do it at once; without them, products are paired in 16 bits, which fits as
 * long as no weight is -128.
 */
typedef enum { PAIRS, DOT } how;

#define INLINE static inline __attribute__((always_inline))

/* Channels that are computed together: their weights meet each block of the rows while it is in registers. */
enum { FILTERS = 4 };

static void copy_neon(void *row, uint32_t row_step, const int8_t *values, uint32_t step, uint32_t count, uint32_t lines,
                      int32_t zero) {
  int8_t *narrow = (int8_t *)row;
  (void)zero;
  for (; lines; lines--, narrow += row_step, values += step) {
    const int8_t *from = values, *end = values + count;
    int8_t *to = narrow;
    for (; end - from >= 32; from += 32, to += 32) {
      int8x16_t first = vld1q_s8(from), second = vld1q_s8(from + 16);
      vst1q_s8(to, first);
      vst1q_s8(to + 16, second);
    }
    /* What is left, over what has been copied where it can. */
    if (count >= 16) {
      if (end - from > 16) vst1q_s8(to, vld1q_s8(from));
      if (end != from) vst1q_s8(narrow + count - 16, vld1q_s8(end - 16));
    } else if (count >= 8) {
      int8x8_t last = vld1_s8(end - 8);
      vst1_s8(to, vld1_s8(from));
      vst1_s8(narrow + count - 8, last);
    } else {
      while (from < end) *to++ = *from++;
    }
  }
}

static void pad_neon(void *row, uint32_t count, int32_t zero) {
  int8_t *narrow = (int8_t *)row;
  uint32_t i = 0;
  for (; i + 16 <= count; i += 16) vst1q_s8(narrow + i, vdupq_n_s8((int8_t)zero));
  for (; i < count; i++) narrow[i] = (int8_t)zero;
}

/* vdotq_s32, without asking that the whole build target it. */
INLINE int32x4_t dot(int32x4_t sums, int8x16_t a, int8x16_t b) {
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(sums, a, b);
#else
  __asm__(".arch armv8.2-a+dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sums) : "w"(a), "w"(b));
  return sums;
#endif
}

INLINE int32x4_t multiply(how way, int32x4_t sums, int8x16_t w, int8x16_t x) {
  if (way == DOT) return dot(sums, w, x);
  int16x8_t pairs = vmull_s8(vget_low_s8(w), vget_low_s8(x));
  return vpadalq_s16(sums, vmlal_high_s8(pairs, w, x));
}

/* Partial sums of one channel: a vector for each of T2M_TILE pixels. Named, not indexed, so that they stay in registers. */
typedef struct partial {
  int32x4_t p0, p1, p2, p3;
} partial;

/* 16 values of each of T2M_TILE rows. */
typedef struct block {
  int8x16_t p0, p1, p2, p3;
} block;

INLINE partial multiply_block(how way, uint32_t pixels, partial sums, int8x16_t w, block x) {
  sums.p0 = multiply(way, sums.p0, w, x.p0);
  if (pixels == 1) return sums;
  sums.p1 = multiply(way, sums.p1, w, x.p1);
  sums.p2 = multiply(way, sums.p2, w, x.p2);
  sums.p3 = multiply(way, sums.p3, w, x.p3);
  return sums;
}

/* The next 32 values at a pointer, which moves on: one instruction, where intrinsics make compilers add to the pointer. */
INLINE int8x16x2_t next_two(const int8_t **at) {
  int8x16x2_t two;
  __asm__("ldp %q0, %q1, [%2], #32"
          : "=w"(two.val[0]), "=w"(two.val[1]), "+r"(*at)
          : "m"(*(const int8_t(*)[32])(const void *)*at));
  return two;
}

/* The same for 32 values. */
INLINE partial multiply_two(how way, uint32_t pixels, partial sums, const int8_t **weights, block x, block y) {
  int8x16x2_t w = next_two(weights);
  return multiply_block(way, pixels, multiply_block(way, pixels, sums, w.val[0], x), w.val[1], y);
}

/* The sums of one pixel, a lane for each channel. */
INLINE int32x4_t across(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
  return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

/* x * multiplier * 2**(shift - 31) as t2m_scale_twice: left is shift or 0, right is shift or 0, whichever is negative. */
INLINE int32x4_t scale(int32x4_t x, int32x4_t multiplier, int32x4_t left, int32x4_t right) {
  x = vqrdmulhq_s32(vshlq_s32(x, left), multiplier);
  /* vrshlq rounds half up: one less for negative numbers makes it half away from zero. */
  return vrshlq_s32(vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31)), right);
}

/* The sums of FILTERS channels from `channel` on, a vector for each pixel, to the places of those that exist. */
INLINE void put_sums(const t2m_product *p, uint32_t channel, partial sums) {
  uint32_t count = p->channels - channel;
  int8_t *out = p->out + channel;
  if (p->rounds_once) {
    int32_t found[T2M_TILE][FILTERS];
    vst1q_s32(found[0], sums.p0);
    vst1q_s32(found[1], sums.p1);
    vst1q_s32(found[2], sums.p2);
    vst1q_s32(found[3], sums.p3);
    for (uint32_t i = 0; i < p->pixels; i++)
      for (uint32_t c = 0; c < FILTERS && c < count; c++) out[i * p->channels + c] = t2m_finish(p, channel + c, found[i][c]);
    return;
  }
  /* Where there are fewer channels, what stands after them in the scratch is read and its results are not stored. */
  int32x4_t bias = vld1q_s32(p->scaling.bias + channel), multiplier = vld1q_s32(p->scaling.multiplier + channel);
  int32x4_t shift = vld1q_s32(p->scaling.shift + channel), none = vdupq_n_s32(0), zero = vdupq_n_s32(p->zero);
  int32x4_t left = vmaxq_s32(shift, none), right = vminq_s32(shift, none);
  sums.p0 = vaddq_s32(scale(vaddq_s32(sums.p0, bias), multiplier, left, right), zero);
  sums.p1 = vaddq_s32(scale(vaddq_s32(sums.p1, bias), multiplier, left, right), zero);
  sums.p2 = vaddq_s32(scale(vaddq_s32(sums.p2, bias), multiplier, left, right), zero);
  sums.p3 = vaddq_s32(scale(vaddq_s32(sums.p3, bias), multiplier, left, right), zero);
  int8x8_t first = vqmovn_s16(vqmovn_high_s32(vqmovn_s32(sums.p0), sums.p1));
  int8x16_t all = vqmovn_high_s16(first, vqmovn_high_s32(vqmovn_s32(sums.p2), sums.p3));
  uint32x4_t words = vreinterpretq_u32_s8(vmaxq_s8(all, vdupq_n_s8((int8_t)p->low)));
  /* One word a pixel, one byte a channel. */
  uint32_t found[T2M_TILE] = {vgetq_lane_u32(words, 0), vgetq_lane_u32(words, 1), vgetq_lane_u32(words, 2),
                              vgetq_lane_u32(words, 3)};
  if (count >= FILTERS && p->pixels == T2M_TILE) {
    size_t step = p->channels;
    __builtin_memcpy(out, &found[0], FILTERS);
    __builtin_memcpy(out + step, &found[1], FILTERS);
    __builtin_memcpy(out + 2u * step, &found[2], FILTERS);
    __builtin_memcpy(out + 3u * step, &found[3], FILTERS);
    return;
  }
  for (uint32_t i = 0; i < p->pixels; i++, out += p->channels)
    for (uint32_t c = 0; c < FILTERS && c < count; c++) out[c] = (int8_t)(found[i] >> 8 * c);
}

/* 16 values of each row and filter; of the weights, those that `keep` does. */
INLINE void multiply_last(how way, uint32_t pixels, partial sums[FILTERS], const int8_t *const rows[T2M_TILE],
                          const int8_t *const filters[FILTERS], int8x16_t keep) {
  block x = {vld1q_s8(rows[0]), vld1q_s8(rows[1]), vld1q_s8(rows[2]), vld1q_s8(rows[3])};
  sums[0] = multiply_block(way, pixels, sums[0], vandq_s8(vld1q_s8(filters[0]), keep), x);
  sums[1] = multiply_block(way, pixels, sums[1], vandq_s8(vld1q_s8(filters[1]), keep), x);
  sums[2] = multiply_block(way, pixels, sums[2], vandq_s8(vld1q_s8(filters[2]), keep), x);
  sums[3] = multiply_block(way, pixels, sums[3], vandq_s8(vld1q_s8(filters[3]), keep), x);
}

/* pixels: T2M_TILE, or 1 where there is one only and that is worth the code. */
INLINE void product(how way, uint32_t pixels, const t2m_product *p) {
  const uint32_t depth = p->depth, rest = depth % T2M_BLOCK, pairs = depth / 32u;
  const bool one_more = depth % 32u >= T2M_BLOCK;
  /* The last block ends with the last value; see kernels.h. */
  const uint32_t back = depth < T2M_BLOCK ? 0u : T2M_BLOCK - rest;
  const int8x16_t all = vdupq_n_s8(-1), mask = depth < T2M_BLOCK ? all : vld1q_s8(t2m_last_block_mask(rest));
  const int8_t *next = p->weights;
  for (uint32_t channel = 0; channel < p->channels; channel += FILTERS, next += FILTERS * (size_t)depth) {
    /* Where there are fewer channels, the last one again. */
    uint32_t count = p->channels - channel;
    const int8_t *w0 = next, *w1 = w0 + (count > 1 ? depth : 0u), *w2 = w1 + (count > 2 ? depth : 0u);
    const int8_t *w3 = w2 + (count > 3 ? depth : 0u);
    const int8_t *row0 = (const int8_t *)p->rows[0], *row1 = (const int8_t *)p->rows[1];
    const int8_t *row2 = (const int8_t *)p->rows[2], *row3 = (const int8_t *)p->rows[3];
    partial a = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}, b = a, c = a, d = a;
    for (uint32_t left = pairs; left; left--) {
      int8x16x2_t x0 = next_two(&row0), x1 = x0, x2 = x0, x3 = x0;
      if (pixels > 1) x1 = next_two(&row1), x2 = next_two(&row2), x3 = next_two(&row3);
      block x = {x0.val[0], x1.val[0], x2.val[0], x3.val[0]}, y = {x0.val[1], x1.val[1], x2.val[1], x3.val[1]};
      a = multiply_two(way, pixels, a, &w0, x, y);
      b = multiply_two(way, pixels, b, &w1, x, y);
      c = multiply_two(way, pixels, c, &w2, x, y);
      d = multiply_two(way, pixels, d, &w3, x, y);
    }
    partial sums[FILTERS] = {a, b, c, d};
    if (one_more) {
      const int8_t *rows[] = {row0, row1, row2, row3}, *filters[] = {w0, w1, w2, w3};
      multiply_last(way, pixels, sums, rows, filters, all);
    }
    if (rest) {
      uint32_t on = (one_more ? T2M_BLOCK : 0u) - back;
      int8_t shorts[FILTERS][T2M_BLOCK];
      const int8_t *rows[] = {row0 + (int32_t)on, row1 + (int32_t)on, row2 + (int32_t)on, row3 + (int32_t)on};
      const int8_t *filters[] = {w0 + (int32_t)on, w1 + (int32_t)on, w2 + (int32_t)on, w3 + (int32_t)on};
      for (uint32_t i = 0; i < FILTERS && depth < T2M_BLOCK; i++) {
        t2m_short_filter(filters[i], depth, shorts[i]);
        filters[i] = shorts[i];
      }
      multiply_last(way, pixels, sums, rows, filters, mask);
    }
    partial found = {across(sums[0].p0, sums[1].p0, sums[2].p0, sums[3].p0),
                     across(sums[0].p1, sums[1].p1, sums[2].p1, sums[3].p1),
                     across(sums[0].p2, sums[1].p2, sums[2].p2, sums[3].p2),
                     across(sums[0].p3, sums[1].p3, sums[2].p3, sums[3].p3)};
    put_sums(p, channel, found);
  }
}

static void product_dot(const t2m_product *p) {
  if (p->pixels == 1) {
    product(DOT, 1, p);
  } else {
    product(DOT, T2M_TILE, p);
  }
}

static void product_pairs(const t2m_product *p) {
  if (!p->has_lowest) {
    product(PAIRS, T2M_TILE, p);
    return;
  }
  for (uint32_t c = 0; c < p->channels; c++) {
    const int8_t *filter = p->weights + (size_t)c * p->depth;
    for (uint32_t i = 0; i < p->pixels; i++) {
      const int8_t *row = (const int8_t *)p->rows[i];
      int32_t sum = 0;
      for (uint32_t k = 0; k < p->depth; k++) sum += row[k] * filter[k];
      p->out[i * p->channels + c] = t2m_finish(p, c, sum);
    }
  }
}

INLINE int32x4_t add_weights(how way, int32x4_t sums, int8x16_t w, int8x16_t *smallest) {
  if (way == DOT) return dot(sums, w, vdupq_n_s8(1));
  *smallest = vminq_s8(*smallest, w);
  return vpadalq_s16(sums, vpaddlq_s8(w));
}

INLINE int32x4_t add_two(how way, int32x4_t sums, const int8_t **weights, int8x16_t *smallest) {
  int8x16x2_t w = next_two(weights);
  return add_weights(way, add_weights(way, sums, w.val[0], smallest), w.val[1], smallest);
}

INLINE void correct(how way, t2m_product *p, int32_t zero) {
  uint32_t depth = p->depth;
  int8x16_t smallest = vdupq_n_s8(0);
  for (uint32_t channel = 0; channel < p->channels; channel += FILTERS) {
    uint32_t count = p->channels - channel < FILTERS ? p->channels - channel : FILTERS;
    const int8_t *filters[FILTERS];
    for (uint32_t c = 0; c < FILTERS; c++) filters[c] = p->weights + (size_t)(channel + (c < count ? c : 0u)) * depth;
    const int8_t *w0 = filters[0], *w1 = filters[1], *w2 = filters[2], *w3 = filters[3];
    int32x4_t a = vdupq_n_s32(0), b = a, c = a, d = a;
    for (uint32_t left = depth / 32u; left; left--) {
      a = add_two(way, a, &w0, &smallest);
      b = add_two(way, b, &w1, &smallest);
      c = add_two(way, c, &w2, &smallest);
      d = add_two(way, d, &w3, &smallest);
    }
    uint32_t done = depth / 32u * 32u;
    if (depth - done >= T2M_BLOCK) {
      a = add_weights(way, a, vld1q_s8(w0), &smallest);
      b = add_weights(way, b, vld1q_s8(w1), &smallest);
      c = add_weights(way, c, vld1q_s8(w2), &smallest);
      d = add_weights(way, d, vld1q_s8(w3), &smallest);
      done += T2M_BLOCK;
    }
    int32_t sums[FILTERS], *bias = p->scaling.bias + channel;
    vst1q_s32(sums, across(a, b, c, d));
    for (uint32_t k = 0; k < count; k++) {
      for (uint32_t i = done; i < depth; i++) {
        sums[k] += filters[k][i];
        if (filters[k][i] == -128) p->has_lowest = 1;
      }
      bias[k] = (int32_t)((uint32_t)bias[k] - (uint32_t)(zero * sums[k]));
    }
  }
  if (vminvq_s8(smallest) == -128) p->has_lowest = 1;
}

static void correct_dot(t2m_product *p, int32_t zero) { correct(DOT, p, zero); }

static void correct_pairs(t2m_product *p, int32_t zero) { correct(PAIRS, p, zero); }

/* One side of an addition: four values less their zero point, times 2**20, scaled. */
INLINE int32x4_t addend(int16x4_t value, int32x4_t multiplier, int32x4_t right) {
  return scale(vshll_n_s16(value, 16), multiplier, vdupq_n_s32(4), right);
}

static void add_neon(const t2m_addition *addition, const int8_t *a, const int8_t *b, int8_t *out, uint32_t count) {
  /* Copies: as far as a compiler knows, `out` might change what `addition` points at. */
  const int8x8_t zero_a = vdup_n_s8((int8_t)addition->zero[0]), zero_b = vdup_n_s8((int8_t)addition->zero[1]);
  const int32x4_t zero = vdupq_n_s32(addition->zero[2]), times = vdupq_n_s32(addition->multiplier[2]);
  const int32x4_t times_a = vdupq_n_s32(addition->multiplier[0]), times_b = vdupq_n_s32(addition->multiplier[1]);
  const int32x4_t right_a = vdupq_n_s32(addition->shift[0]), right_b = vdupq_n_s32(addition->shift[1]);
  const int32x4_t left = vdupq_n_s32(addition->shift[2] > 0 ? addition->shift[2] : 0);
  const int32x4_t right = vdupq_n_s32(addition->shift[2] > 0 ? 0 : addition->shift[2]);
  const int8x8_t low = vdup_n_s8((int8_t)addition->low);
  uint32_t i = 0;
  for (; i + 8 <= count; i += 8) {
    int16x8_t x = vsubl_s8(vld1_s8(a + i), zero_a), y = vsubl_s8(vld1_s8(b + i), zero_b);
    int32x4_t first = vaddq_s32(addend(vget_low_s16(x), times_a, right_a), addend(vget_low_s16(y), times_b, right_b));
    int32x4_t second = vaddq_s32(addend(vget_high_s16(x), times_a, right_a), addend(vget_high_s16(y), times_b, right_b));
    first = vaddq_s32(scale(first, times, left, right), zero);
    second = vaddq_s32(scale(second, times, left, right), zero);
    int8x8_t narrow = vqmovn_s16(vqmovn_high_s32(vqmovn_s32(first), second));
    vst1_s8(out + i, vmax_s8(narrow, low));
  }
  t2m_add_reference(addition, a + i, b + i, out + i, count - i);
}

/* Interleaves the bytes of the first half with those of the second: of the bits that number a byte in all eight vectors,
 * the first becomes the last.
 */
INLINE void interleave(const uint8x16_t from[8], uint8x16_t to[8]) {
  to[0] = vzip1q_u8(from[0], from[4]), to[1] = vzip2q_u8(from[0], from[4]);
  to[2] = vzip1q_u8(from[1], from[5]), to[3] = vzip2q_u8(from[1], from[5]);
  to[4] = vzip1q_u8(from[2], from[6]), to[5] = vzip2q_u8(from[2], from[6]);
  to[6] = vzip1q_u8(from[3], from[7]), to[7] = vzip2q_u8(from[3], from[7]);
}

static void gather_neon(const t2m_gathering *lines) {
  t2m_gathering rest = *lines;
  const int64_t step = lines->step;
  for (; lines->stride == 1 && lines->lines == T2M_GATHERED && rest.count >= 8; rest.count -= 8) {
    uint8x16_t a[8], b[8];
    for (uint32_t k = 0; k < 8; k++, rest.from += step) {
      T2M_FETCH(rest.from, T2M_AHEAD * step);
      a[k] = vld1q_u8(rest.from);
    }
    /* Bytes are numbered by sample, then line; three rounds later by line, then sample. */
    interleave(a, b);
    interleave(b, a);
    interleave(a, b);
    uint8_t *to = rest.to;
    for (uint32_t k = 0; k < 8; k++, to += 2u * lines->pitch) {
      vst1_u8(to, vget_low_u8(b[k]));
      vst1_u8(to + lines->pitch, vget_high_u8(b[k]));
    }
    rest.to += 8;
  }
  t2m_gather_reference(&rest);
}

/* What four levels contribute by a factor, as frame.c has it. */
INLINE int16x4_t contribute_four(int16x4_t levels, int32_t factor) {
  int32x4_t product = vmlaq_n_s32(vdupq_n_s32(1 << (T2M_FACTOR_BITS - 1)), vmovl_s16(levels), factor);
  uint32x4_t sign = vreinterpretq_u32_s32(vshrq_n_s32(product, 31));
  product = vreinterpretq_s32_u32(vsraq_n_u32(vreinterpretq_u32_s32(product), sign, 32 - T2M_FACTOR_BITS));
  return vshrn_n_s32(product, T2M_FACTOR_BITS);
}

static int16x8_t contribute(int16x8_t levels, int32_t factor) {
  return vcombine_s16(contribute_four(vget_low_s16(levels), factor), contribute_four(vget_high_s16(levels), factor));
}

static void offsets_neon(const t2m_chroma *line, uint32_t from) {
  const t2m_chroma_part a = line->first, b = line->second;
  uint32_t i = from;
  for (; i + 8 <= line->count; i += 8) {
    uint8x8x2_t both;
    if (line->step == 2) {
      both = vld2_u8(a.samples + 2u * i);
    } else {
      both.val[0] = vld1_u8(a.samples + i), both.val[1] = vld1_u8(b.samples + i);
    }
    int16x8_t first = vreinterpretq_s16_u16(vsubl_u8(both.val[0], vdup_n_u8(128)));
    int16x8_t second = vreinterpretq_s16_u16(vsubl_u8(both.val[1], vdup_n_u8(128)));
    vst1q_s16(a.offsets + i, contribute(first, a.factor));
    vst1q_s16(b.offsets + i, contribute(second, b.factor));
    vst1q_s16(line->green + i, vaddq_s16(contribute(first, a.green), contribute(second, b.green)));
  }
  t2m_offsets_reference(line, i);
}

/* One colour of eight pixels: offsets of four pairs. */
INLINE uint8x8_t one_colour(int16x8_t luma, const int16_t *offsets) {
  int16x4_t pairs = vld1_s16(offsets);
  return vqshrun_n_s16(vqaddq_s16(luma, vcombine_s16(vzip1_s16(pairs, pairs), vzip2_s16(pairs, pairs))), 6);
}

static void colour_neon(const t2m_colours *row) {
  /* Copies: as far as a compiler knows, `out` might change what `row` points at. */
  const uint8_t *from = row->luma;
  const int16_t *red = row->red, *green = row->green, *blue = row->blue;
  uint8_t *out = row->out.data, *out_green = out + row->out.plane, *out_blue = out_green + row->out.plane;
  uint32_t i = 0, eights = row->factors->black ? 0u : row->count & ~7u;
  for (; i < eights; i += 8) {
    int16x8_t luma = vreinterpretq_s16_u16(vshll_n_u8(vld1_u8(from + i), 6));
    vst1_u8(out + i, one_colour(luma, red + i / 2));
    vst1_u8(out_green + i, one_colour(luma, green + i / 2));
    vst1_u8(out_blue + i, one_colour(luma, blue + i / 2));
  }
  t2m_colours rest = {row->luma + i, row->factors,         row->red + i / 2,           row->green + i / 2,
                      row->blue + i / 2, row->count - i, {out + i, row->out.plane}};
  t2m_colour_reference(&rest);
}

/* Products of 8 pixels of a plane with the two parts of their weights, added to four sums each. */
INLINE void weigh(const uint8_t *from, int16x8_t low, int16x8_t high, int32x4_t *lows, int32x4_t *highs) {
  int16x8_t values = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(from)));
  *lows = vmlal_high_s16(vmlal_s16(*lows, vget_low_s16(values), vget_low_s16(low)), values, low);
  *highs = vmlal_high_s16(vmlal_s16(*highs, vget_low_s16(values), vget_low_s16(high)), values, high);
}

static void across_neon(const t2m_resize *resize) {
  const int16_t *low = resize->low, *high = resize->high;
  const t2m_span *span = resize->spans, *end = span + resize->width;
  const uint8_t *pixels = resize->pixels.data;
  const uint32_t taps = resize->taps, plane = resize->pixels.plane;
  uint8_t *out = resize->row;
  for (; span < end; span++, low += taps, high += taps, out += 3) {
    const uint8_t *from = pixels + span->first;
    int32x4_t red = vdupq_n_s32(0), green = red, blue = red, red_high = red, green_high = red, blue_high = red;
    for (uint32_t i = 0; i < span->count; i += 8) {
      int16x8_t l = vld1q_s16(low + i), h = vld1q_s16(high + i);
      weigh(from + i, l, h, &red, &red_high);
      weigh(from + plane + i, l, h, &green, &green_high);
      weigh(from + 2u * plane + i, l, h, &blue, &blue_high);
    }
    red = vaddq_s32(red, vshlq_n_s32(red_high, T2M_LOW_BITS));
    green = vaddq_s32(green, vshlq_n_s32(green_high, T2M_LOW_BITS));
    blue = vaddq_s32(blue, vshlq_n_s32(blue_high, T2M_LOW_BITS));
    int32x4_t sums = vrshrq_n_s32(across(red, green, blue, blue), T2M_WEIGHT_BITS);
    uint16x4_t words = vqmovun_s32(sums);
    uint32_t colours = vget_lane_u32(vreinterpret_u32_u8(vqmovn_u16(vcombine_u16(words, words))), 0);
    out[0] = (uint8_t)colours;
    out[1] = (uint8_t)(colours >> 8);
    out[2] = (uint8_t)(colours >> 16);
  }
}

static void down_neon(const t2m_blend *blend, uint32_t from) {
  const uint32_t width = blend->width;
  uint32_t i = from;
  for (; i + 8 <= width; i += 8) {
    const uint8_t *row = blend->rows + i;
    uint32x4_t low = vdupq_n_u32(1u << (T2M_WEIGHT_BITS - 1)), high = low;
    for (uint32_t k = 0; k < blend->count; k++, row += width) {
      uint16x8_t eight = vmovl_u8(vld1_u8(row));
      uint32_t weight = (uint32_t)blend->weights[k];
      low = vmlaq_n_u32(low, vmovl_u16(vget_low_u16(eight)), weight);
      high = vmlaq_n_u32(high, vmovl_high_u16(eight), weight);
    }
    uint16x8_t words = vshrn_high_n_u32(vshrn_n_u32(low, 16), high, 16);
    vst1_u8(blend->out + i, vqshrn_n_u16(words, T2M_WEIGHT_BITS - 16));
  }
  t2m_down_reference(blend, i);
}

const t2m_kernel *t2m_kernel_neon(void) {
  static const t2m_kernel kernel = {
      "neon",   1,           copy_neon,    pad_neon,    product_pairs, correct_pairs,
      add_neon, gather_neon, offsets_neon, colour_neon, across_neon,   down_neon};
  return &kernel;
}

/* Whether the processor has the dot product. Linux lets programs read the register; elsewhere the build must say so. */
static bool has_dot(void) {
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

const t2m_kernel *t2m_kernel_dotprod(void) {
  static const t2m_kernel kernel = {
      "neon-dotprod", 1,           copy_neon,    pad_neon,    product_dot, correct_dot,
      add_neon,       gather_neon, offsets_neon, colour_neon, across_neon, down_neon};
  return has_dot() ? &kernel : NULL;
}

#else

const t2m_kernel *t2m_kernel_neon(void) { return NULL; }

const t2m_kernel *t2m_kernel_dotprod(void) { return NULL; }

#endif
