/* The operators: each reads and writes tensors in the arena.
 *
 * int8: bit-equal to LiteRT's reference kernels (kernel_mode = "reference"), as TFLite's quantisation specification
 * (https://ai.google.dev/edge/litert/models/quantization_spec) asks. float: sums in the same order as those kernels.
 */
#ifndef T2M_OPERATORS_H
#define T2M_OPERATORS_H

#include "core.h"

/* CONV_2D and FULLY_CONNECTED. file: what the operator's positions mean. scratch: as planned in arena.c. */
void t2m_conv_int8(const t2m_kernel *kernel, const t2m_operator *op, const uint8_t *file, const int8_t *in, int8_t *out,
                   uint8_t *scratch);
void t2m_conv_float(const t2m_operator *op, const uint8_t *file, const float *in, float *out, float *scratch);

void t2m_depthwise_int8(const t2m_operator *op, const uint8_t *file, const int8_t *in, int8_t *out, uint8_t *scratch);
void t2m_depthwise_float(const t2m_operator *op, const uint8_t *file, const float *in, float *out);

void t2m_add_int8(const t2m_kernel *kernel, const t2m_operator *op, const int8_t *a, const int8_t *b, int8_t *out);
void t2m_add_float(const t2m_operator *op, const float *a, const float *b, float *out);

void t2m_mean_int8(const t2m_operator *op, const int8_t *in, int8_t *out);
void t2m_mean_float(const t2m_operator *op, const float *in, float *out);

void t2m_unit_int8(const t2m_operator *op, const int8_t *in, int8_t *out);
void t2m_unit_float(const t2m_operator *op, const float *in, float *out);

/* QUANTIZE: uint8 -> int8. */
void t2m_quantize(const t2m_operator *op, const uint8_t *in, int8_t *out);

/* DEQUANTIZE: uint8 or int8 -> float. */
void t2m_dequantize_uint8(const t2m_operator *op, const uint8_t *in, float *out);
void t2m_dequantize_int8(float scale, int32_t zero, uint32_t count, const int8_t *in, float *out);

/* SOFTMAX of one row, in place. */
void t2m_softmax(float *x, uint32_t count);

/* LOGISTIC, in place. */
void t2m_sigmoid(float *x, uint32_t count);

#endif
