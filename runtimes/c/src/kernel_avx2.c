#include "kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(T2M_NO_SIMD)

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

static AVX2 void widen_avx2(int16_t *row, const int8_t *values, uint32_t count, int32_t zero) {
  const __m256i zeros = _mm256_set1_epi16((int16_t)zero);
  uint32_t i = 0;
  for (; i + 16 <= count; i += 16) {
    __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(values + i)));
    _mm256_storeu_si256((__m256i *)(void *)(row + i), _mm256_sub_epi16(wide, zeros));
  }
  for (; i < count; i++) row[i] = (int16_t)(values[i] - zero);
}

/* Sums of T2M_TILE rows with two filters: [filter 0: rows 0 to 3, filter 1: rows 0 to 3]. */
static AVX2 __m256i two_filters(const int16_t *rows, uint32_t row_length, const int8_t *a, const int8_t *b,
                                uint32_t depth) {
  __m256i a0 = _mm256_setzero_si256(), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
  const int16_t *row0 = rows, *row1 = rows + row_length, *row2 = row1 + row_length, *row3 = row2 + row_length;
  for (uint32_t k = 0; k < row_length; k += T2M_BLOCK) {
    if (k + T2M_BLOCK > depth) {
      /* The last block of weights overlaps the one before; see rows.h. */
      a -= row_length - depth;
      b -= row_length - depth;
    }
    __m256i wa = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(a + k)));
    __m256i wb = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(b + k)));
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(row0 + k));
    a0 = _mm256_add_epi32(a0, _mm256_madd_epi16(wa, x));
    b0 = _mm256_add_epi32(b0, _mm256_madd_epi16(wb, x));
    x = _mm256_loadu_si256((const __m256i *)(const void *)(row1 + k));
    a1 = _mm256_add_epi32(a1, _mm256_madd_epi16(wa, x));
    b1 = _mm256_add_epi32(b1, _mm256_madd_epi16(wb, x));
    x = _mm256_loadu_si256((const __m256i *)(const void *)(row2 + k));
    a2 = _mm256_add_epi32(a2, _mm256_madd_epi16(wa, x));
    b2 = _mm256_add_epi32(b2, _mm256_madd_epi16(wb, x));
    x = _mm256_loadu_si256((const __m256i *)(const void *)(row3 + k));
    a3 = _mm256_add_epi32(a3, _mm256_madd_epi16(wa, x));
    b3 = _mm256_add_epi32(b3, _mm256_madd_epi16(wb, x));
  }
  /* Sums of eight lanes each, four at a time: 128-bit halves stay apart until the end. */
  __m256i left = _mm256_hadd_epi32(_mm256_hadd_epi32(a0, a1), _mm256_hadd_epi32(a2, a3));
  __m256i right = _mm256_hadd_epi32(_mm256_hadd_epi32(b0, b1), _mm256_hadd_epi32(b2, b3));
  return _mm256_add_epi32(_mm256_permute2x128_si256(left, right, 0x20), _mm256_permute2x128_si256(left, right, 0x31));
}

/* A number of each of two channels: lanes 0 to 3 and 4 to 7. */
static AVX2 __m256i pair(int32_t a, int32_t b) { return _mm256_set_m128i(_mm_set1_epi32(b), _mm_set1_epi32(a)); }

/* t2m_scale_twice for eight sums of two channels, and their range. */
static AVX2 __m256i finish_avx2(__m256i sums, const t2m_scaling *a, const t2m_scaling *b, const t2m_product *p) {
  const __m256i none = _mm256_setzero_si256(), one = _mm256_set1_epi32(1);
  __m256i multiplier = pair(a->multiplier, b->multiplier), shift = pair(a->shift, b->shift);
  __m256i left = _mm256_max_epi32(shift, none), right = _mm256_sub_epi32(left, shift);
  __m256i x = _mm256_sllv_epi32(_mm256_add_epi32(sums, pair(a->bias, b->bias)), left);
  /* (x * multiplier + 2**30) >> 31: of the 64 bits only 31 to 62 matter, so that a logical shift serves. */
  const __m256i nudge = _mm256_set1_epi64x(1 << 30);
  __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x, multiplier), nudge);
  __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(x, 32), multiplier), nudge);
  __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xAA);
  __m256i mask = _mm256_sub_epi32(_mm256_sllv_epi32(one, right), one);
  __m256i rest = _mm256_and_si256(high, mask);
  __m256i half = _mm256_sub_epi32(_mm256_srli_epi32(mask, 1), _mm256_srai_epi32(high, 31));
  x = _mm256_sub_epi32(_mm256_srav_epi32(high, right), _mm256_cmpgt_epi32(rest, half));
  x = _mm256_add_epi32(x, _mm256_set1_epi32(p->zero));
  return _mm256_max_epi32(_mm256_min_epi32(x, _mm256_set1_epi32(p->high)), _mm256_set1_epi32(p->low));
}

/* Values of two channels (as finish gives them) to their pixels. */
static AVX2 void store(__m256i values, int8_t *out, uint32_t channels, uint32_t pixels, bool both) {
  __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(values), _mm256_extracti128_si256(values, 1));
  uint64_t bytes = (uint64_t)_mm_cvtsi128_si64(_mm_packs_epi16(words, words));
  for (uint32_t i = 0; i < pixels; i++, out += channels, bytes >>= 8) {
    out[0] = (int8_t)bytes;
    if (both) out[1] = (int8_t)(bytes >> 32);
  }
}

static AVX2 void product_avx2(const t2m_product *p) {
  /* Under a whole block there is nothing to overlap with. */
  if (p->depth < T2M_BLOCK) {
    t2m_product_reference(p);
    return;
  }
  for (uint32_t c = 0; c < p->channels; c += 2) {
    bool both = c + 1 < p->channels;
    const t2m_scaling *scaling = p->scaling + c;
    const int8_t *a = p->weights + (size_t)c * p->depth, *b = both ? a + p->depth : a;
    __m256i sums = two_filters((const int16_t *)p->rows, p->row_length, a, b, p->depth);
    if (p->rounds_once) {
      int32_t found[2 * T2M_TILE];
      _mm256_storeu_si256((__m256i *)(void *)found, sums);
      t2m_finish_tile(p, c, both ? 2 : 1, found);
    } else {
      store(finish_avx2(sums, scaling, both ? scaling + 1 : scaling, p), p->out + c, p->channels, p->pixels, both);
    }
  }
}

const t2m_kernel *t2m_kernel_avx2(void) {
  static const t2m_kernel kernel = {"avx2", 2, widen_avx2, NULL, product_avx2, NULL};
  return has_avx2() ? &kernel : NULL;
}

#else

const t2m_kernel *t2m_kernel_avx2(void) { return NULL; }

#endif
