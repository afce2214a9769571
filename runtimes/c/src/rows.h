/* The rows that kernels multiply: for each output pixel, the input values under its window, one after the other.
 *
 * int16 rows hold value - zero point, so that padding is 0; int8 rows hold the values, padding is the zero point, and
 * kernels correct by the sum of the weights. Where a window is one pixel, an int8 row is the image itself.
 */
#ifndef T2M_ROWS_H
#define T2M_ROWS_H

#include "core.h"

typedef struct t2m_rows {
  const t2m_kernel *kernel;
  const t2m_operator *op;
  const int8_t *image; /* NHWC */
  uint8_t *buffer;     /* room for T2M_TILE rows of row_length values */
  uint32_t row_length;
  uint32_t x, y;         /* the next output pixel */
  uint32_t y_from, y_to; /* the part of its windows that lies inside the image's height */
  uint32_t first_line;   /* pixels of the image before that part's first line */
} t2m_rows;

/* The rows of the next output pixels; places beyond `pixels` repeat the first. */
void t2m_next_rows(t2m_rows *rows, uint32_t pixels, const void *found[T2M_TILE]);

#endif
