/* Camera frames as rows of RGB, upright and cropped. */
#ifndef T2M_FRAME_H
#define T2M_FRAME_H

#include "core.h"

/* 6-bit fixed-point contributions of Y, U and V; (y + u or v) >> 6 is the colour. */
typedef struct t2m_yuv_tables {
  int16_t y[256], red_v[256], green_u[256], green_v[256], blue_u[256];
} t2m_yuv_tables;

/* A checked frame: where its samples lie, and how its upright, cropped rows run through them. */
typedef struct t2m_view {
  t2m_format format;
  uint32_t width, height; /* of the upright image after the crop */
  int32_t x, y;           /* stored position of its first pixel */
  int32_t row_x, row_y;   /* step to the next upright row, in stored pixels */
  int32_t column_x, column_y; /* step to the next upright column */
  const uint8_t *luma;    /* or the packed pixels */
  const uint8_t *u, *v;
  int64_t stride, step, chroma_stride, chroma_step;
  /* YUV only: */
  const t2m_yuv_tables *tables;
  const t2m_kernel *kernel;
  bool is_full;       /* y is 64 times the luma */
  int16_t *offsets;   /* of red, then green, then blue, of the chroma line that was read last; t2m_offsets_of each */
  int32_t offsets_of; /* that line; -1: none yet */
  uint8_t *line;      /* (width) luma, where it does not lie in one piece */
} t2m_view;

/* Room for the colour offsets of a row of `width` pixels, and what kernels read beyond them. */
static inline uint32_t t2m_offsets_of(uint32_t width) { return width / 2u + 8u; }

/* Checks a frame and describes what to read of it. stretch: the whole frame; otherwise its centre square. */
t2m_status t2m_look(const t2m_frame *frame, bool stretch, t2m_view *view);

bool t2m_is_yuv(t2m_format format);

void t2m_fill_yuv_tables(t2m_yuv yuv, t2m_yuv_tables *tables);

/* One upright row. pixels: room for view->width in each plane. */
void t2m_read_row(t2m_view *view, uint32_t row, t2m_pixels pixels);

#endif
