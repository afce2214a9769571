/* The ways of multiplying; each is NULL where this build or this processor does not have it. */
#ifndef T2M_KERNELS_H
#define T2M_KERNELS_H

#include "core.h"
#include "json.h"

const t2m_kernel *t2m_kernel_avx2(void);
const t2m_kernel *t2m_kernel_neon(void);
const t2m_kernel *t2m_kernel_dotprod(void);
const t2m_kernel *t2m_kernel_wasm(void);

/* The reference kernel's product, for shapes that a fast one leaves to it. int16 rows. */
void t2m_product_reference(const t2m_product *product);

/* A sum of products of one channel as the output value: bias, scaling, zero point, range. */
int8_t t2m_finish(const t2m_product *product, uint32_t channel, int32_t sum);

/* The same for `count` channels from `channel` on: sums[channel][T2M_TILE], of which the first pixels are stored. */
void t2m_finish_tile(const t2m_product *product, uint32_t channel, uint32_t count, const int32_t *sums);

#endif
