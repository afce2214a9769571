#include "numbers.h"
#include "kernels.h"
#include "rows.h"

static void widen_reference(int16_t *row, const int8_t *values, uint32_t count, int32_t zero) {
  for (uint32_t i = 0; i < count; i++) row[i] = (int16_t)(values[i] - zero);
}

static int32_t dot(const int16_t *row, const int8_t *weights, uint32_t depth) {
  uint32_t whole = depth / T2M_BLOCK * T2M_BLOCK, rest = depth - whole;
  uint32_t gap = rest && depth > T2M_BLOCK ? T2M_BLOCK - rest : 0;
  int32_t sum = 0;
  for (uint32_t i = 0; i < whole; i++) sum += row[i] * weights[i];
  for (uint32_t i = 0; i < rest; i++) sum += row[whole + gap + i] * weights[whole + i];
  return sum;
}

void t2m_product_reference(const t2m_product *p) {
  const int16_t *rows = (const int16_t *)p->rows;
  for (uint32_t c = 0; c < p->channels; c++)
    for (uint32_t i = 0; i < p->pixels; i++)
      p->out[i * p->channels + c] =
          t2m_finish(p, c, dot(rows + i * p->row_length, p->weights + (size_t)c * p->depth, p->depth));
}

int8_t t2m_finish(const t2m_product *p, uint32_t channel, int32_t sum) {
  const t2m_scaling *scaling = &p->scaling[channel];
  sum = (int32_t)((uint32_t)sum + (uint32_t)scaling->bias);
  int32_t scaled = p->rounds_once ? t2m_scale_once(sum, scaling->multiplier, scaling->shift)
                                  : t2m_scale_twice(sum, scaling->multiplier, scaling->shift);
  return (int8_t)t2m_clamp((int32_t)((uint32_t)scaled + (uint32_t)p->zero), p->low, p->high);
}

void t2m_finish_tile(const t2m_product *p, uint32_t channel, uint32_t count, const int32_t *sums) {
  for (uint32_t c = 0; c < count; c++)
    for (uint32_t i = 0; i < p->pixels; i++)
      p->out[i * p->channels + channel + c] = t2m_finish(p, channel + c, sums[c * T2M_TILE + i]);
}

static const t2m_kernel reference = {"reference", 2, widen_reference, NULL, t2m_product_reference, NULL};

const t2m_kernel *t2m_find_kernel(const char *name) {
  /* The best one first. */
  const t2m_kernel *kernels[] = {t2m_kernel_dotprod(), t2m_kernel_neon(), t2m_kernel_avx2(), t2m_kernel_wasm(), &reference};
  for (uint32_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++)
    if (kernels[i] && (!name || t2m_text_is(name, kernels[i]->name))) return kernels[i];
  return NULL;
}
