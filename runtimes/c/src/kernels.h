/* The ways of computing; each is NULL where this build or this processor does not have it. */
#ifndef T2M_KERNELS_H
#define T2M_KERNELS_H

#include "core.h"
#include "json.h"

const t2m_kernel *t2m_kernel_avx2(void);
const t2m_kernel *t2m_kernel_vnni(void);
const t2m_kernel *t2m_kernel_neon(void);
const t2m_kernel *t2m_kernel_dotprod(void);
const t2m_kernel *t2m_kernel_wasm(void);

/* A sum of products of one channel as the output value: bias, scaling, zero point, range. */
int8_t t2m_finish(const t2m_product *product, uint32_t channel, int32_t sum);

/* ADD in plain C, for kernels without their own and for what their blocks leave over. */
void t2m_add_reference(const t2m_addition *addition, const int8_t *a, const int8_t *b, int8_t *out, uint32_t count);

/* The steps of a preparation in plain C. */
void t2m_gather_reference(const t2m_gathering *lines);
void t2m_offsets_reference(const t2m_chroma *line, uint32_t from);
void t2m_colour_reference(const t2m_colours *row);
void t2m_across_reference(const t2m_resize *resize);
void t2m_down_reference(const t2m_blend *blend, uint32_t from);

/* Asks for memory so many bytes ahead that will be read soon. Whether anything lies there does not matter. */
#if defined(__GNUC__)
#define T2M_FETCH(from, ahead) __builtin_prefetch((const void *)((uintptr_t)(from) + (uintptr_t)(ahead)))
#else
#define T2M_FETCH(from, ahead) (void)(ahead)
#endif
/* How many samples ahead: those of a turned frame lie a row apart, which processors do not foresee. */
#define T2M_AHEAD 24

#if defined(__x86_64__) && defined(__GNUC__) && !defined(T2M_NO_SIMD)
#define T2M_X86_64
/* What every x86-64 kernel does with AVX2. */
void t2m_add_avx2(const t2m_addition *addition, const int8_t *a, const int8_t *b, int8_t *out, uint32_t count);
void t2m_gather_avx2(const t2m_gathering *lines);
void t2m_offsets_avx2(const t2m_chroma *line, uint32_t from);
void t2m_colour_avx2(const t2m_colours *row);
void t2m_across_avx2(const t2m_resize *resize);
void t2m_down_avx2(const t2m_blend *blend, uint32_t from);
#endif

/* Filters are read T2M_BLOCK weights at a time. Where their depth is no multiple of it, the last block is the one that
 * ends with the last weight: it overlaps the block before, and of its lanes only those count that this mask keeps (all
 * bits 1; the others 0). rest: depth % T2M_BLOCK. So a kernel never leaves a filter.
 */
static inline const int8_t *t2m_last_block_mask(uint32_t rest) {
  static const int8_t mask[2u * T2M_BLOCK] = {0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                              -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
  return mask + rest;
}

/* A filter shorter than a block as a block, zeros after it. */
static inline void t2m_short_filter(const int8_t *filter, uint32_t depth, int8_t block[T2M_BLOCK]) {
  for (uint32_t i = 0; i < T2M_BLOCK; i++) block[i] = i < depth ? filter[i] : 0;
}

#endif
