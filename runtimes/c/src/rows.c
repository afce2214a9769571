#include "rows.h"

/* Where a row is being written. */
typedef struct row_writer {
  const t2m_kernel *kernel;
  int16_t *wide;  /* one of these */
  int8_t *narrow;
  uint32_t at;
  int32_t zero;
} row_writer;

static void put(row_writer *writer, const int8_t *values, uint32_t count) {
  if (writer->wide) {
    writer->kernel->widen(writer->wide + writer->at, values, count, writer->zero);
  } else {
    writer->kernel->copy(writer->narrow + writer->at, values, count);
  }
  writer->at += count;
}

static void put_padding(row_writer *writer, uint32_t count) {
  if (writer->wide) {
    for (uint32_t i = 0; i < count; i++) writer->wide[writer->at + i] = 0;
  } else {
    for (uint32_t i = 0; i < count; i++) writer->narrow[writer->at + i] = (int8_t)writer->zero;
  }
  writer->at += count;
}

/* Moves the values after the last whole block to the end of the row, zeros before them; see rows.h. */
static void close_row(row_writer *writer, uint32_t begin, uint32_t depth) {
  uint32_t rest = depth % T2M_BLOCK, start = begin + depth - rest;
  uint32_t gap = depth > T2M_BLOCK ? T2M_BLOCK - rest : 0u;
  if (rest == 0) return;
  for (uint32_t i = T2M_BLOCK; i-- > 0;) {
    bool value = i >= gap && i < gap + rest;
    if (writer->wide) {
      writer->wide[start + i] = value ? writer->wide[start + i - gap] : 0;
    } else {
      writer->narrow[start + i] = value ? writer->narrow[start + i - gap] : 0;
    }
  }
}

/* The part of a kernel's extent [0, size) that lies inside an image of `limit`, when it starts at `start`. */
static void covered(int32_t start, uint32_t size, uint32_t limit, uint32_t *from, uint32_t *to) {
  int32_t first = start < 0 ? -start : 0;
  int32_t last = (int32_t)limit - start;
  if (last > (int32_t)size) last = (int32_t)size;
  if (first > (int32_t)size) first = (int32_t)size;
  *from = (uint32_t)first;
  *to = last > first ? (uint32_t)last : (uint32_t)first;
}

void t2m_fill_rows(const t2m_kernel *kernel, const t2m_operator *op, const int8_t *image, uint32_t first,
                   uint32_t pixels, void *rows, uint32_t row_length) {
  uint32_t channels = op->in_channels, depth = op->kernel_height * op->kernel_width * channels;
  for (uint32_t i = 0; i < pixels; i++) {
    row_writer writer = {kernel, NULL, NULL, i * row_length, op->input_zero};
    if (kernel->row_bytes == 2) {
      writer.wide = (int16_t *)rows;
    } else {
      writer.narrow = (int8_t *)rows;
    }
    uint32_t pixel = first + i;
    int32_t top = (int32_t)(pixel / op->out_width * op->stride_height) - (int32_t)op->pad_top;
    int32_t left = (int32_t)(pixel % op->out_width * op->stride_width) - (int32_t)op->pad_left;
    uint32_t x_from, x_to, y_from, y_to;
    covered(left, op->kernel_width, op->in_width, &x_from, &x_to);
    covered(top, op->kernel_height, op->in_height, &y_from, &y_to);
    put_padding(&writer, y_from * op->kernel_width * channels);
    for (uint32_t y = y_from; y < y_to; y++) {
      uint32_t row = (uint32_t)(top + (int32_t)y) * op->in_width;
      put_padding(&writer, x_from * channels);
      put(&writer, image + (row + (uint32_t)(left + (int32_t)x_from)) * channels, (x_to - x_from) * channels);
      put_padding(&writer, (op->kernel_width - x_to) * channels);
    }
    put_padding(&writer, (op->kernel_height - y_to) * op->kernel_width * channels);
    close_row(&writer, i * row_length, depth);
  }
}
