/* The rows that kernels multiply: for each output pixel, the input values under its window, one after the other.
 *
 * A row of `depth` values is whole blocks of 16 (T2M_BLOCK), then, where depth is no multiple of 16, one block that
 * ends with the last value: it overlaps the block before, and the lanes already counted there are 0. So a kernel reads
 * the weights in the same way, last block at `depth - 16`, and never leaves their row. Where depth is under 16, the one
 * block begins with the values and ends with zeros.
 *
 * int16 rows hold value - zero point, so that padding is 0; int8 rows hold the values, padding is the zero point, and
 * kernels correct by the sum of the weights.
 */
#ifndef T2M_ROWS_H
#define T2M_ROWS_H

#include "core.h"

/* Fills the rows of output pixels [first, first + pixels) of a convolution. image: int8 NHWC. */
void t2m_fill_rows(const t2m_kernel *kernel, const t2m_operator *op, const int8_t *image, uint32_t first,
                   uint32_t pixels, void *rows, uint32_t row_length);

#endif
