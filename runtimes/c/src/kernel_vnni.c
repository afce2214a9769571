#include "kernels.h"

#if defined(T2M_X86_64)

#include <cpuid.h>
#include <immintrin.h>

/* VPDPBUSD multiplies unsigned with signed bytes: values of a row become x + 128 as they are loaded, and the bias takes
 * the 128 times the sum of the weights back, together with the zero point.
 */
#define VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

/* Channels that are computed together. */
enum { FILTERS = 4, BYTES = 64 };

/* Whether the processor has AVX-512 F, BW, VL and VNNI, and the system saves its registers. */
static bool has_vnni(void) {
  const unsigned first = bit_AVX512F | bit_AVX512BW | bit_AVX512VL;
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return false;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0xE6u) != 0xE6u) return false;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & first) == first && (c & bit_AVX512VNNI);
}

static VNNI void copy_vnni(void *row, uint32_t row_step, const int8_t *values, uint32_t step, uint32_t count,
                           uint32_t lines, int32_t zero) {
  int8_t *narrow = (int8_t *)row;
  (void)zero;
  const __mmask64 last = ((__mmask64)1 << count % BYTES) - 1u;
  for (; lines; lines--, narrow += row_step, values += step) {
    uint32_t i = 0;
    for (; i + BYTES <= count; i += BYTES) _mm512_storeu_si512(narrow + i, _mm512_loadu_si512(values + i));
    if (last) _mm512_mask_storeu_epi8(narrow + i, last, _mm512_maskz_loadu_epi8(last, values + i));
  }
}

static void pad_vnni(void *row, uint32_t count, int32_t zero) {
  int8_t *narrow = (int8_t *)row;
  for (uint32_t i = 0; i < count; i++) narrow[i] = (int8_t)zero;
}

/* A vector for each of T2M_TILE pixels: values, or partial sums of one channel. */
typedef struct quad {
  __m512i p0, p1, p2, p3;
} quad;

static inline VNNI quad multiply_quad(quad sums, __m512i w, const quad *x) {
  sums.p0 = _mm512_dpbusd_epi32(sums.p0, x->p0, w);
  sums.p1 = _mm512_dpbusd_epi32(sums.p1, x->p1, w);
  sums.p2 = _mm512_dpbusd_epi32(sums.p2, x->p2, w);
  sums.p3 = _mm512_dpbusd_epi32(sums.p3, x->p3, w);
  return sums;
}

/* 64 values of a row, plus 128. Where fewer are kept, the others count nothing: their weights are 0. */
static inline VNNI __m512i load_row(__mmask64 keep, const int8_t *row) {
  return _mm512_xor_si512(_mm512_maskz_loadu_epi8(keep, row), _mm512_set1_epi8(-128));
}

/* The sums of one pixel in four parts: a lane for each channel, four times. */
static inline VNNI __m512i sum_channels(__m512i a, __m512i b, __m512i c, __m512i d) {
  __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* Adds neighbouring quarters: those of a, then those of b. */
static inline VNNI __m512i add_quarters(__m512i a, __m512i b) {
  return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xDD));
}

/* t2m_scale_twice for sixteen numbers. */
static inline VNNI __m512i scale_sixteen(__m512i x, __m512i multiplier, __m512i shift) {
  const __m512i none = _mm512_setzero_si512(), one = _mm512_set1_epi32(1), nudge = _mm512_set1_epi64(1 << 30);
  __m512i left = _mm512_max_epi32(shift, none), right = _mm512_sub_epi32(left, shift);
  x = _mm512_sllv_epi32(x, left);
  /* (x * multiplier + 2**30) >> 31: of the 64 bits only 31 to 62 matter, so that a logical shift serves. */
  __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, multiplier), nudge);
  __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(multiplier, 32)), nudge);
  __m512i high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
  __m512i mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, right), one);
  __m512i half = _mm512_sub_epi32(_mm512_srli_epi32(mask, 1), _mm512_srai_epi32(high, 31));
  __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(high, mask), half);
  high = _mm512_srav_epi32(high, right);
  return _mm512_mask_add_epi32(high, up, high, one);
}

/* The numbers of `count` channels, four times. */
static inline VNNI __m512i four_times(const int32_t *table, uint32_t count) {
  return _mm512_broadcast_i32x4(_mm_maskz_loadu_epi32((__mmask8)((1u << count) - 1u), table));
}

/* The sums of FILTERS channels from `channel` on, pixel by pixel, to the places of those that exist. */
static inline VNNI void put_sums(const t2m_product *p, uint32_t channel, __m512i sums) {
  uint32_t count = p->channels - channel < FILTERS ? p->channels - channel : FILTERS;
  int8_t *out = p->out + channel;
  if (p->rounds_once) {
    int32_t found[T2M_TILE][FILTERS];
    _mm512_storeu_si512(found, sums);
    for (uint32_t i = 0; i < p->pixels; i++)
      for (uint32_t c = 0; c < count; c++) out[i * p->channels + c] = t2m_finish(p, channel + c, found[i][c]);
    return;
  }
  sums = _mm512_add_epi32(sums, four_times(p->scaling.bias + channel, count));
  __m512i multiplier = four_times(p->scaling.multiplier + channel, count);
  sums = scale_sixteen(sums, multiplier, four_times(p->scaling.shift + channel, count));
  __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_add_epi32(sums, _mm512_set1_epi32(p->zero)));
  bytes = _mm_max_epi8(bytes, _mm_set1_epi8((char)p->low));
  const __mmask16 kept = (__mmask16)((1u << count) - 1u);
  for (uint32_t i = 0; i < p->pixels; i++, out += p->channels) {
    _mm_mask_storeu_epi8(out, kept, bytes);
    bytes = _mm_bsrli_si128(bytes, FILTERS);
  }
}

static VNNI void product_vnni(const t2m_product *p) {
  const int8_t *row0 = (const int8_t *)p->rows[0], *row1 = (const int8_t *)p->rows[1];
  const int8_t *row2 = (const int8_t *)p->rows[2], *row3 = (const int8_t *)p->rows[3];
  const uint32_t depth = p->depth;
  for (uint32_t channel = 0; channel < p->channels; channel += FILTERS) {
    /* Where there are fewer channels, the last one again. */
    uint32_t count = p->channels - channel;
    const int8_t *w0 = p->weights + (size_t)channel * depth, *w1 = w0 + (count > 1 ? depth : 0u);
    const int8_t *w2 = w1 + (count > 2 ? depth : 0u), *w3 = w2 + (count > 3 ? depth : 0u);
    quad a = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
    quad b = a, c = a, d = a;
    for (uint32_t k = 0; k < depth; k += BYTES) {
      __mmask64 keep = depth - k < BYTES ? ((__mmask64)1 << (depth - k)) - 1u : ~(__mmask64)0;
      quad x = {load_row(keep, row0 + k), load_row(keep, row1 + k), load_row(keep, row2 + k), load_row(keep, row3 + k)};
      a = multiply_quad(a, _mm512_maskz_loadu_epi8(keep, w0 + k), &x);
      b = multiply_quad(b, _mm512_maskz_loadu_epi8(keep, w1 + k), &x);
      c = multiply_quad(c, _mm512_maskz_loadu_epi8(keep, w2 + k), &x);
      d = multiply_quad(d, _mm512_maskz_loadu_epi8(keep, w3 + k), &x);
    }
    __m512i first = add_quarters(sum_channels(a.p0, b.p0, c.p0, d.p0), sum_channels(a.p1, b.p1, c.p1, d.p1));
    __m512i second = add_quarters(sum_channels(a.p2, b.p2, c.p2, d.p2), sum_channels(a.p3, b.p3, c.p3, d.p3));
    put_sums(p, channel, add_quarters(first, second));
  }
}

static VNNI void correct_vnni(t2m_product *p, int32_t zero) {
  for (uint32_t channel = 0; channel < p->channels; channel++) {
    const int8_t *filter = p->weights + (size_t)channel * p->depth;
    __m512i sums = _mm512_setzero_si512();
    for (uint32_t k = 0; k < p->depth; k += BYTES) {
      __mmask64 keep = p->depth - k < BYTES ? ((__mmask64)1 << (p->depth - k)) - 1u : ~(__mmask64)0;
      sums = _mm512_dpbusd_epi32(sums, _mm512_set1_epi8(1), _mm512_maskz_loadu_epi8(keep, filter + k));
    }
    int32_t sum = _mm512_reduce_add_epi32(sums), *bias = &p->scaling.bias[channel];
    *bias = (int32_t)((uint32_t)*bias - (uint32_t)((zero + 128) * sum));
  }
}

const t2m_kernel *t2m_kernel_vnni(void) {
  static const t2m_kernel kernel = {
      "avx512-vnni", 1,               copy_vnni,        pad_vnni,        product_vnni,    correct_vnni,
      t2m_add_avx2,  t2m_gather_avx2, t2m_offsets_avx2, t2m_colour_avx2, t2m_across_avx2, t2m_down_avx2};
  return has_vnni() ? &kernel : NULL;
}

#else

const t2m_kernel *t2m_kernel_vnni(void) { return NULL; }

#endif
