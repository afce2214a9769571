#include "rows.h"

/* The part of a kernel's extent [0, size) that lies inside an image of `limit`, when it starts at `start`. */
static void covered(int32_t start, uint32_t size, uint32_t limit, uint32_t *from, uint32_t *to) {
  int32_t first = start < 0 ? -start : 0;
  int32_t last = (int32_t)limit - start;
  if (last > (int32_t)size) last = (int32_t)size;
  if (first > (int32_t)size) first = (int32_t)size;
  *from = (uint32_t)first;
  *to = last > first ? (uint32_t)last : (uint32_t)first;
}

static void fill_row(const t2m_rows *rows, uint8_t *row) {
  const t2m_kernel *kernel = rows->kernel;
  const t2m_operator *op = rows->op;
  uint32_t channels = op->in_channels, line = op->kernel_width * channels;
  uint32_t lines = rows->y_to - rows->y_from, columns = op->kernel_width, x_from = 0;
  int32_t left = (int32_t)(rows->x * op->stride_width) - (int32_t)op->pad_left;
  if (left < 0 || (uint32_t)left + columns > op->in_width) {
    uint32_t x_to;
    covered(left, columns, op->in_width, &x_from, &x_to);
    columns = x_to - x_from;
  }
  if (lines < op->kernel_height || columns < op->kernel_width)
    kernel->pad(row, op->kernel_height * line, op->input_zero);
  const int8_t *values = rows->image + (rows->first_line + (uint32_t)(left + (int32_t)x_from)) * channels;
  kernel->copy(row + (rows->y_from * line + x_from * channels) * kernel->row_bytes, line, values,
               op->in_width * channels, columns * channels, lines, op->input_zero);
}

/* The lines of the image that the windows of an output row see. */
static void start_row(t2m_rows *rows) {
  const t2m_operator *op = rows->op;
  int32_t top = (int32_t)(rows->y * op->stride_height) - (int32_t)op->pad_top;
  covered(top, op->kernel_height, op->in_height, &rows->y_from, &rows->y_to);
  rows->first_line = (uint32_t)(top + (int32_t)rows->y_from) * op->in_width;
}

void t2m_next_rows(t2m_rows *rows, uint32_t pixels, const void *found[T2M_TILE]) {
  const t2m_operator *op = rows->op;
  bool in_place = rows->kernel->row_bytes == 1 && op->kernel_height * op->kernel_width == 1;
  for (uint32_t i = 0; i < T2M_TILE; i++) {
    if (i >= pixels) {
      found[i] = found[0];
      continue;
    }
    if (rows->x == 0) start_row(rows);
    if (in_place) {
      uint32_t pixel = rows->y * op->stride_height * op->in_width + rows->x * op->stride_width;
      found[i] = rows->image + pixel * op->in_channels;
    } else {
      uint8_t *row = rows->buffer + i * rows->row_length * rows->kernel->row_bytes;
      fill_row(rows, row);
      found[i] = row;
    }
    if (++rows->x == op->out_width) {
      rows->x = 0;
      rows->y++;
    }
  }
}
