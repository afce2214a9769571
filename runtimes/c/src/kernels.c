#include "kernels.h"

#include "numbers.h"

static void copy_reference(void *row, uint32_t row_step, const int8_t *values, uint32_t step, uint32_t count,
                           uint32_t lines, int32_t zero) {
  int16_t *wide = (int16_t *)row;
  for (; lines; lines--, wide += row_step, values += step)
    for (uint32_t i = 0; i < count; i++) wide[i] = (int16_t)(values[i] - zero);
}

static void pad_reference(void *row, uint32_t count, int32_t zero) {
  int16_t *wide = (int16_t *)row;
  (void)zero;
  for (uint32_t i = 0; i < count; i++) wide[i] = 0;
}

static void product_reference(const t2m_product *p) {
  for (uint32_t c = 0; c < p->channels; c++) {
    const int8_t *filter = p->weights + (size_t)c * p->depth;
    for (uint32_t i = 0; i < p->pixels; i++) {
      const int16_t *row = (const int16_t *)p->rows[i];
      int32_t sum = 0;
      for (uint32_t k = 0; k < p->depth; k++) sum += row[k] * filter[k];
      p->out[i * p->channels + c] = t2m_finish(p, c, sum);
    }
  }
}

int8_t t2m_finish(const t2m_product *p, uint32_t channel, int32_t sum) {
  const t2m_scaling *scaling = &p->scaling;
  int32_t multiplier = scaling->multiplier[channel], shift = scaling->shift[channel];
  sum = (int32_t)((uint32_t)sum + (uint32_t)scaling->bias[channel]);
  int32_t scaled = p->rounds_once ? t2m_scale_once(sum, multiplier, shift) : t2m_scale_twice(sum, multiplier, shift);
  return (int8_t)t2m_clamp((int32_t)((uint32_t)scaled + (uint32_t)p->zero), p->low, 127);
}

static int32_t one_addend(const t2m_addition *addition, uint32_t which, int32_t value) {
  int32_t shifted = (value - addition->zero[which]) * (1 << 20);
  return t2m_scale_twice(shifted, addition->multiplier[which], addition->shift[which]);
}

void t2m_add_reference(const t2m_addition *addition, const int8_t *a, const int8_t *b, int8_t *out, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    int32_t sum = one_addend(addition, 0, a[i]) + one_addend(addition, 1, b[i]);
    int32_t scaled = t2m_scale_twice(sum, addition->multiplier[2], addition->shift[2]);
    out[i] = (int8_t)t2m_clamp((int32_t)((uint32_t)scaled + (uint32_t)addition->zero[2]), addition->low, 127);
  }
}

static const t2m_kernel reference = {
    "reference",           2,
    copy_reference,        pad_reference,
    product_reference,     NULL,
    t2m_add_reference,     t2m_gather_reference,
    t2m_offsets_reference, t2m_colour_reference,
    t2m_across_reference,  t2m_down_reference};

const t2m_kernel *t2m_find_kernel(const char *name) {
  /* The best one first. */
  const t2m_kernel *kernels[] = {t2m_kernel_dotprod(), t2m_kernel_neon(), t2m_kernel_vnni(),
                                 t2m_kernel_avx2(),    t2m_kernel_wasm(), &reference};
  for (uint32_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++)
    if (kernels[i] && (!name || t2m_text_is(name, kernels[i]->name))) return kernels[i];
  return NULL;
}
