#include "kernels.h"

#if defined(T2M_X86_64)

#include <cpuid.h>
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Whether the processor has AVX2 and the system saves its registers. */
static bool has_avx2(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX)) return false;
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 6u) != 6u) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

static AVX2 void copy_avx2(void *row, uint32_t row_step, const int8_t *values, uint32_t step, uint32_t count,
                           uint32_t lines, int32_t zero) {
  const __m256i zeros = _mm256_set1_epi16((int16_t)zero);
  int16_t *wide = (int16_t *)row;
  for (; lines; lines--, wide += row_step, values += step) {
    uint32_t i = 0;
    for (; i + 16 <= count; i += 16) {
      __m256i sixteen = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(values + i)));
      _mm256_storeu_si256((__m256i *)(void *)(wide + i), _mm256_sub_epi16(sixteen, zeros));
    }
    for (; i + 8 <= count; i += 8) {
      __m128i eight = _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)(values + i)));
      _mm_storeu_si128((__m128i *)(void *)(wide + i), _mm_sub_epi16(eight, _mm256_castsi256_si128(zeros)));
    }
    for (; i < count; i++) wide[i] = (int16_t)(values[i] - zero);
  }
}

static AVX2 void pad_avx2(void *row, uint32_t count, int32_t zero) {
  int16_t *wide = (int16_t *)row;
  (void)zero;
  uint32_t i = 0;
  for (; i + 16 <= count; i += 16) _mm256_storeu_si256((__m256i *)(void *)(wide + i), _mm256_setzero_si256());
  for (; i < count; i++) wide[i] = 0;
}

static inline AVX2 __m128i load(const int8_t *at) { return _mm_loadu_si128((const __m128i *)(const void *)at); }

/* sums and the products of 16 weights with 16 values of a row. */
static inline AVX2 __m256i multiply(__m256i sums, __m256i w, const int16_t *row) {
  return _mm256_add_epi32(sums, _mm256_madd_epi16(w, _mm256_loadu_si256((const __m256i *)(const void *)row)));
}

/* Partial sums of T2M_TILE pixels with one filter. */
typedef struct partial {
  __m256i p0, p1, p2, p3;
} partial;

static inline AVX2 partial multiply_tile(partial sums, __m128i weights, const int16_t *const rows[T2M_TILE], uint32_t at) {
  __m256i w = _mm256_cvtepi8_epi16(weights);
  sums.p0 = multiply(sums.p0, w, rows[0] + at);
  sums.p1 = multiply(sums.p1, w, rows[1] + at);
  sums.p2 = multiply(sums.p2, w, rows[2] + at);
  sums.p3 = multiply(sums.p3, w, rows[3] + at);
  return sums;
}

/* Sums of two filters: [pixel 0: a, b; pixel 1: a, b; pixel 2: a, b; pixel 3: a, b]. */
static inline AVX2 __m256i totals(partial a, partial b) {
  __m256i first = _mm256_hadd_epi32(_mm256_hadd_epi32(a.p0, b.p0), _mm256_hadd_epi32(a.p1, b.p1));
  __m256i second = _mm256_hadd_epi32(_mm256_hadd_epi32(a.p2, b.p2), _mm256_hadd_epi32(a.p3, b.p3));
  return _mm256_add_epi32(_mm256_permute2x128_si256(first, second, 0x20), _mm256_permute2x128_si256(first, second, 0x31));
}

static AVX2 __m256i two_filters(const t2m_product *p, const int8_t *a, const int8_t *b) {
  const int16_t *rows[T2M_TILE] = {(const int16_t *)p->rows[0], (const int16_t *)p->rows[1], (const int16_t *)p->rows[2],
                                   (const int16_t *)p->rows[3]};
  uint32_t depth = p->depth, rest = depth % T2M_BLOCK, whole = depth - rest;
  partial sums_a, sums_b;
  sums_a.p0 = sums_a.p1 = sums_a.p2 = sums_a.p3 = _mm256_setzero_si256();
  sums_b = sums_a;
  for (uint32_t k = 0; k < whole; k += T2M_BLOCK) {
    sums_a = multiply_tile(sums_a, load(a + k), rows, k);
    sums_b = multiply_tile(sums_b, load(b + k), rows, k);
  }
  if (rest) {
    uint32_t at = depth < T2M_BLOCK ? 0u : depth - T2M_BLOCK;
    __m128i mask = depth < T2M_BLOCK ? _mm_set1_epi8(-1) : load(t2m_last_block_mask(rest));
    sums_a = multiply_tile(sums_a, _mm_and_si128(load(a + at), mask), rows, at);
    sums_b = multiply_tile(sums_b, _mm_and_si128(load(b + at), mask), rows, at);
  }
  return totals(sums_a, sums_b);
}

/* t2m_scale_twice for eight numbers. */
static inline AVX2 __m256i scale(__m256i x, __m256i multiplier, __m256i shift) {
  const __m256i none = _mm256_setzero_si256(), nudge = _mm256_set1_epi64x(1 << 30);
  __m256i left = _mm256_max_epi32(shift, none), right = _mm256_sub_epi32(left, shift);
  x = _mm256_sllv_epi32(x, left);
  /* (x * multiplier + 2**30) >> 31: of the 64 bits only 31 to 62 matter, so that a logical shift serves. */
  __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, multiplier), nudge);
  __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(multiplier, 32)), nudge);
  __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
  __m256i mask = _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), right), _mm256_set1_epi32(1));
  __m256i rest = _mm256_and_si256(high, mask);
  __m256i half = _mm256_sub_epi32(_mm256_srli_epi32(mask, 1), _mm256_srai_epi32(high, 31));
  return _mm256_sub_epi32(_mm256_srav_epi32(high, right), _mm256_cmpgt_epi32(rest, half));
}

/* Eight int32 as int8 in the first eight bytes, saturated. */
static inline AVX2 __m128i narrow(__m256i x) {
  __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  return _mm_packs_epi16(words, words);
}

/* The numbers of two channels, four times. */
static inline AVX2 __m256i pair(const int32_t *table, uint32_t channel, bool both) {
  return _mm256_set1_epi64x((int64_t)((uint64_t)(uint32_t)table[both ? channel + 1u : channel] << 32 | (uint32_t)table[channel]));
}

static AVX2 void product_avx2(const t2m_product *p) {
  for (uint32_t c = 0; c < p->channels; c += 2) {
    bool both = c + 1 < p->channels;
    const int8_t *a = p->weights + (size_t)c * p->depth, *b = both ? a + p->depth : a;
    int8_t shorts[2][T2M_BLOCK];
    if (p->depth < T2M_BLOCK) {
      t2m_short_filter(a, p->depth, shorts[0]);
      t2m_short_filter(b, p->depth, shorts[1]);
      a = shorts[0], b = shorts[1];
    }
    __m256i sums = two_filters(p, a, b);
    int8_t *out = p->out + c;
    if (p->rounds_once) {
      int32_t found[T2M_TILE][2];
      _mm256_storeu_si256((__m256i *)(void *)found, sums);
      for (uint32_t i = 0; i < p->pixels; i++, out += p->channels)
        for (uint32_t k = 0; k < (both ? 2u : 1u); k++) out[k] = t2m_finish(p, c + k, found[i][k]);
      continue;
    }
    sums = _mm256_add_epi32(sums, pair(p->scaling.bias, c, both));
    sums = scale(sums, pair(p->scaling.multiplier, c, both), pair(p->scaling.shift, c, both));
    __m128i bytes = narrow(_mm256_add_epi32(sums, _mm256_set1_epi32(p->zero)));
    uint64_t found = (uint64_t)_mm_cvtsi128_si64(_mm_max_epi8(bytes, _mm_set1_epi8((char)p->low)));
    for (uint32_t i = 0; i < p->pixels; i++, out += p->channels, found >>= 16) {
      out[0] = (int8_t)found;
      if (both) out[1] = (int8_t)(found >> 8);
    }
  }
}

/* One side of an addition: eight values, scaled. */
static inline AVX2 __m256i addend(const t2m_addition *addition, int which, const int8_t *values) {
  __m256i x = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)values));
  x = _mm256_slli_epi32(_mm256_sub_epi32(x, _mm256_set1_epi32(addition->zero[which])), 20);
  return scale(x, _mm256_set1_epi32(addition->multiplier[which]), _mm256_set1_epi32(addition->shift[which]));
}

AVX2 void t2m_add_avx2(const t2m_addition *addition, const int8_t *a, const int8_t *b, int8_t *out, uint32_t count) {
  uint32_t i = 0;
  for (; i + 8 <= count; i += 8) {
    __m256i sum = _mm256_add_epi32(addend(addition, 0, a + i), addend(addition, 1, b + i));
    sum = scale(sum, _mm256_set1_epi32(addition->multiplier[2]), _mm256_set1_epi32(addition->shift[2]));
    __m128i bytes = narrow(_mm256_add_epi32(sum, _mm256_set1_epi32(addition->zero[2])));
    _mm_storel_epi64((__m128i *)(void *)(out + i), _mm_max_epi8(bytes, _mm_set1_epi8((char)addition->low)));
  }
  t2m_add_reference(addition, a + i, b + i, out + i, count - i);
}

/* Interleaves the bytes of the first half with those of the second: of the bits that number a byte in all eight vectors,
 * the first becomes the last.
 */
static inline AVX2 void interleave(const __m128i from[8], __m128i to[8]) {
  to[0] = _mm_unpacklo_epi8(from[0], from[4]), to[1] = _mm_unpackhi_epi8(from[0], from[4]);
  to[2] = _mm_unpacklo_epi8(from[1], from[5]), to[3] = _mm_unpackhi_epi8(from[1], from[5]);
  to[4] = _mm_unpacklo_epi8(from[2], from[6]), to[5] = _mm_unpackhi_epi8(from[2], from[6]);
  to[6] = _mm_unpacklo_epi8(from[3], from[7]), to[7] = _mm_unpackhi_epi8(from[3], from[7]);
}

AVX2 void t2m_gather_avx2(const t2m_gathering *lines) {
  t2m_gathering rest = *lines;
  const int64_t step = lines->step;
  for (; lines->stride == 1 && lines->lines == T2M_GATHERED && rest.count >= 8; rest.count -= 8) {
    __m128i a[8], b[8];
    for (uint32_t k = 0; k < 8; k++, rest.from += step) {
      T2M_FETCH(rest.from, T2M_AHEAD * step);
      a[k] = _mm_loadu_si128((const __m128i *)(const void *)rest.from);
    }
    /* Bytes are numbered by sample, then line; three rounds later by line, then sample. */
    interleave(a, b);
    interleave(b, a);
    interleave(a, b);
    uint8_t *to = rest.to;
    for (uint32_t k = 0; k < 8; k++, to += 2u * lines->pitch) {
      _mm_storel_epi64((__m128i *)(void *)to, b[k]);
      _mm_storel_epi64((__m128i *)(void *)(to + lines->pitch), _mm_unpackhi_epi64(b[k], b[k]));
    }
    rest.to += 8;
  }
  t2m_gather_reference(&rest);
}

/* What eight levels contribute by a factor, rounded as frame.c does. */
static inline AVX2 __m256i contribute(__m256i levels, int32_t factor) {
  __m256i products = _mm256_mullo_epi32(levels, _mm256_set1_epi32(factor));
  products = _mm256_add_epi32(products, _mm256_set1_epi32(1 << (T2M_FACTOR_BITS - 1)));
  products = _mm256_add_epi32(products, _mm256_srli_epi32(_mm256_srai_epi32(products, 31), 32 - T2M_FACTOR_BITS));
  return _mm256_srai_epi32(products, T2M_FACTOR_BITS);
}

/* Eight int32 as int16. */
static inline AVX2 void store_words(int16_t *at, __m256i x) {
  __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  _mm_storeu_si128((__m128i *)(void *)at, words);
}

AVX2 void t2m_offsets_avx2(const t2m_chroma *line, uint32_t from) {
  const t2m_chroma_part a = line->first, b = line->second;
  uint32_t i = from;
  for (; i + 8 <= line->count; i += 8) {
    __m256i first, second;
    if (line->step == 2) {
      __m256i pairs = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(a.samples + 2u * i)));
      first = _mm256_and_si256(pairs, _mm256_set1_epi32(255));
      second = _mm256_srli_epi32(pairs, 8);
    } else {
      first = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(a.samples + i)));
      second = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(b.samples + i)));
    }
    first = _mm256_sub_epi32(first, _mm256_set1_epi32(128));
    second = _mm256_sub_epi32(second, _mm256_set1_epi32(128));
    store_words(a.offsets + i, contribute(first, a.factor));
    store_words(b.offsets + i, contribute(second, b.factor));
    store_words(line->green + i, _mm256_add_epi32(contribute(first, a.green), contribute(second, b.green)));
  }
  t2m_offsets_reference(line, i);
}

/* One colour of eight pixels: offsets of four pairs. */
static inline AVX2 __m128i one_colour(__m128i luma, const int16_t *offsets) {
  __m128i pairs = _mm_loadl_epi64((const __m128i *)(const void *)offsets);
  return _mm_srai_epi16(_mm_adds_epi16(luma, _mm_unpacklo_epi16(pairs, pairs)), 6);
}

AVX2 void t2m_colour_avx2(const t2m_colours *row) {
  /* Copies: as far as a compiler knows, `out` might change what `row` points at. */
  const uint8_t *from = row->luma;
  const int16_t *reds = row->red, *greens = row->green, *blues = row->blue;
  uint8_t *out = row->out.data, *out_green = out + row->out.plane, *out_blue = out_green + row->out.plane;
  uint32_t i = 0, eights = row->factors->black ? 0u : row->count & ~7u;
  for (; i < eights; i += 8) {
    __m128i luma = _mm_cvtepu8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)(from + i)));
    luma = _mm_slli_epi16(luma, 6);
    __m128i red_green = _mm_packus_epi16(one_colour(luma, reds + i / 2), one_colour(luma, greens + i / 2));
    __m128i blue = one_colour(luma, blues + i / 2);
    _mm_storel_epi64((__m128i *)(void *)(out + i), red_green);
    _mm_storel_epi64((__m128i *)(void *)(out_green + i), _mm_srli_si128(red_green, 8));
    _mm_storel_epi64((__m128i *)(void *)(out_blue + i), _mm_packus_epi16(blue, blue));
  }
  t2m_colours rest = {row->luma + i, row->factors,         row->red + i / 2,           row->green + i / 2,
                      row->blue + i / 2, row->count - i, {out + i, row->out.plane}};
  t2m_colour_reference(&rest);
}

/* Products of 16 pixels of a plane with their weights, in eight sums. */
static inline AVX2 __m256i weigh(const uint8_t *from, const int16_t *low, const int16_t *high) {
  __m256i values = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)from));
  __m256i lows = _mm256_madd_epi16(values, _mm256_loadu_si256((const __m256i *)(const void *)low));
  __m256i highs = _mm256_madd_epi16(values, _mm256_loadu_si256((const __m256i *)(const void *)high));
  return _mm256_add_epi32(lows, _mm256_slli_epi32(highs, T2M_LOW_BITS));
}

AVX2 void t2m_across_avx2(const t2m_resize *resize) {
  const int16_t *low = resize->low, *high = resize->high;
  const uint32_t plane = resize->pixels.plane;
  uint8_t *out = resize->row;
  for (uint32_t x = 0; x < resize->width; x++, low += resize->taps, high += resize->taps, out += 3) {
    const uint8_t *from = resize->pixels.data + resize->spans[x].first;
    __m256i red = weigh(from, low, high), green = weigh(from + plane, low, high);
    __m256i blue = weigh(from + 2u * plane, low, high);
    for (uint32_t i = T2M_BLOCK; i < resize->spans[x].count; i += T2M_BLOCK) {
      red = _mm256_add_epi32(red, weigh(from + i, low + i, high + i));
      green = _mm256_add_epi32(green, weigh(from + plane + i, low + i, high + i));
      blue = _mm256_add_epi32(blue, weigh(from + 2u * plane + i, low + i, high + i));
    }
    __m256i all = _mm256_hadd_epi32(_mm256_hadd_epi32(red, green), _mm256_hadd_epi32(blue, blue));
    __m128i sums = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    sums = _mm_srai_epi32(_mm_add_epi32(sums, _mm_set1_epi32(1 << (T2M_WEIGHT_BITS - 1))), T2M_WEIGHT_BITS);
    sums = _mm_packs_epi32(sums, sums);
    uint32_t colours = (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(sums, sums));
    out[0] = (uint8_t)colours;
    out[1] = (uint8_t)(colours >> 8);
    out[2] = (uint8_t)(colours >> 16);
  }
}

AVX2 void t2m_down_avx2(const t2m_blend *blend, uint32_t from) {
  const uint32_t width = blend->width;
  uint32_t i = from;
  for (; i + 8 <= width; i += 8) {
    const uint8_t *row = blend->rows + i;
    __m256i sums = _mm256_set1_epi32(1 << (T2M_WEIGHT_BITS - 1));
    for (uint32_t k = 0; k < blend->count; k++, row += width) {
      __m256i eight = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)row));
      sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(eight, _mm256_set1_epi32(blend->weights[k])));
    }
    sums = _mm256_srai_epi32(sums, T2M_WEIGHT_BITS);
    __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storel_epi64((__m128i *)(void *)(blend->out + i), _mm_packus_epi16(words, words));
  }
  t2m_down_reference(blend, i);
}

const t2m_kernel *t2m_kernel_avx2(void) {
  static const t2m_kernel kernel = {
      "avx2",       2,               copy_avx2,        pad_avx2,        product_avx2,    NULL,
      t2m_add_avx2, t2m_gather_avx2, t2m_offsets_avx2, t2m_colour_avx2, t2m_across_avx2, t2m_down_avx2};
  return has_avx2() ? &kernel : NULL;
}

#else

const t2m_kernel *t2m_kernel_avx2(void) { return NULL; }

#endif
