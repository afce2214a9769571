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
  const t2m_yuv_tables *tables;
} t2m_view;

/* Checks a frame and describes what to read of it. stretch: the whole frame; otherwise its centre square. */
t2m_status t2m_look(const t2m_frame *frame, bool stretch, t2m_view *view);

bool t2m_is_yuv(t2m_format format);

void t2m_fill_yuv_tables(t2m_yuv yuv, t2m_yuv_tables *tables);

/* One upright row as RGBX, 4 bytes a pixel, X 0. pixels: room for view->width. */
void t2m_read_row(const t2m_view *view, uint32_t row, uint8_t *pixels);

#endif
