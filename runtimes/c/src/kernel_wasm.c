#include "kernels.h"

#if defined(__wasm_simd128__) && !defined(T2M_NO_SIMD)

#include <wasm_simd128.h>

static void copy_wasm(void *row, uint32_t row_step, const int8_t *values, uint32_t step, uint32_t count, uint32_t lines,
                      int32_t zero) {
  const v128_t zeros = wasm_i16x8_splat((int16_t)zero);
  int16_t *wide = (int16_t *)row;
  for (; lines; lines--, wide += row_step, values += step) {
    uint32_t i = 0;
    for (; i + 8 <= count; i += 8)
      wasm_v128_store(wide + i, wasm_i16x8_sub(wasm_i16x8_load8x8(values + i), zeros));
    for (; i < count; i++) wide[i] = (int16_t)(values[i] - zero);
  }
}

static void pad_wasm(void *row, uint32_t count, int32_t zero) {
  int16_t *wide = (int16_t *)row;
  (void)zero;
  uint32_t i = 0;
  for (; i + 8 <= count; i += 8) wasm_v128_store(wide + i, wasm_i16x8_splat(0));
  for (; i < count; i++) wide[i] = 0;
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
  uint32_t depth = p->depth, rest = depth % T2M_BLOCK, back = depth < T2M_BLOCK ? 0u : T2M_BLOCK - rest;
  const v128_t mask = depth < T2M_BLOCK ? wasm_i8x16_splat(-1) : wasm_v128_load(t2m_last_block_mask(rest));
  for (uint32_t channel = 0; channel < p->channels; channel++) {
    const int8_t *filter = p->weights + (size_t)channel * depth;
    int8_t block[T2M_BLOCK];
    if (depth < T2M_BLOCK) {
      t2m_short_filter(filter, depth, block);
      filter = block;
    }
    const int16_t *row0 = (const int16_t *)p->rows[0], *row1 = (const int16_t *)p->rows[1];
    const int16_t *row2 = (const int16_t *)p->rows[2], *row3 = (const int16_t *)p->rows[3];
    v128_t sum0 = wasm_i32x4_splat(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
    for (uint32_t k = 0; k < depth; k += T2M_BLOCK) {
      bool last = k + T2M_BLOCK > depth;
      uint32_t at = last ? k - back : k;
      v128_t w = wasm_v128_load(filter + at);
      if (last) w = wasm_v128_and(w, mask);
      v128_t low = wasm_i16x8_extend_low_i8x16(w), high = wasm_i16x8_extend_high_i8x16(w);
      sum0 = multiply_wasm(sum0, low, high, row0 + at);
      sum1 = multiply_wasm(sum1, low, high, row1 + at);
      sum2 = multiply_wasm(sum2, low, high, row2 + at);
      sum3 = multiply_wasm(sum3, low, high, row3 + at);
    }
    int32_t found[T2M_TILE];
    wasm_v128_store(found, sum_lanes(sum0, sum1, sum2, sum3));
    for (uint32_t i = 0; i < p->pixels; i++) p->out[i * p->channels + channel] = t2m_finish(p, channel, found[i]);
  }
}

const t2m_kernel *t2m_kernel_wasm(void) {
  static const t2m_kernel kernel = {
      "wasm-simd",           2,
      copy_wasm,             pad_wasm,
      product_wasm,          NULL,
      t2m_add_reference,     t2m_gather_reference,
      t2m_offsets_reference, t2m_colour_reference,
      t2m_across_reference,  t2m_down_reference};
  return &kernel;
}

#else

const t2m_kernel *t2m_kernel_wasm(void) { return NULL; }

#endif
