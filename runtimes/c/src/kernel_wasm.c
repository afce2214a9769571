#include "kernels.h"

#if defined(__wasm_simd128__) && !defined(T2M_NO_SIMD)

#include <wasm_simd128.h>

static void widen_wasm(int16_t *row, const int8_t *values, uint32_t count, int32_t zero) {
  const v128_t zeros = wasm_i16x8_splat((int16_t)zero);
  uint32_t i = 0;
  for (; i + 8 <= count; i += 8)
    wasm_v128_store(row + i, wasm_i16x8_sub(wasm_i16x8_load8x8(values + i), zeros));
  for (; i < count; i++) row[i] = (int16_t)(values[i] - zero);
}

/* The sum of the four lanes of each of four vectors. */
static v128_t sum_lanes(v128_t a, v128_t b, v128_t c, v128_t d) {
  v128_t ab = wasm_i32x4_add(wasm_i32x4_shuffle(a, b, 0, 2, 4, 6), wasm_i32x4_shuffle(a, b, 1, 3, 5, 7));
  v128_t cd = wasm_i32x4_add(wasm_i32x4_shuffle(c, d, 0, 2, 4, 6), wasm_i32x4_shuffle(c, d, 1, 3, 5, 7));
  return wasm_i32x4_add(wasm_i32x4_shuffle(ab, cd, 0, 2, 4, 6), wasm_i32x4_shuffle(ab, cd, 1, 3, 5, 7));
}

/* Sums and the products of 16 weights with 16 values of a row. */
static v128_t multiply_wasm(v128_t sums, v128_t low, v128_t high, const int16_t *row) {
  sums = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(low, wasm_v128_load(row)));
  return wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(high, wasm_v128_load(row + 8)));
}

static void product_wasm(const t2m_product *p) {
  /* Under a whole block there is nothing to overlap with. */
  if (p->depth < T2M_BLOCK) {
    t2m_product_reference(p);
    return;
  }
  for (uint32_t channel = 0; channel < p->channels; channel++) {
    const int8_t *filter = p->weights + (size_t)channel * p->depth;
    const int16_t *rows = (const int16_t *)p->rows;
    v128_t sum0 = wasm_i32x4_splat(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (uint32_t k = 0; k < p->row_length; k += T2M_BLOCK, rows += T2M_BLOCK) {
      /* The last block of weights overlaps the one before; see rows.h. */
      uint32_t at = k + T2M_BLOCK <= p->depth ? k : p->depth - T2M_BLOCK;
      v128_t low = wasm_i16x8_load8x8(filter + at), high = wasm_i16x8_load8x8(filter + at + 8);
      sum0 = multiply_wasm(sum0, low, high, rows);
      sum1 = multiply_wasm(sum1, low, high, rows + p->row_length);
      sum2 = multiply_wasm(sum2, low, high, rows + 2u * p->row_length);
      sum3 = multiply_wasm(sum3, low, high, rows + 3u * p->row_length);
    }
    int32_t found[T2M_TILE];
    wasm_v128_store(found, sum_lanes(sum0, sum1, sum2, sum3));
    t2m_finish_tile(p, channel, 1, found);
  }
}

const t2m_kernel *t2m_kernel_wasm(void) {
  static const t2m_kernel kernel = {"wasm-simd", 2, widen_wasm, NULL, product_wasm, NULL};
  return &kernel;
}

#else

const t2m_kernel *t2m_kernel_wasm(void) { return NULL; }

#endif
