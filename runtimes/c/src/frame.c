#include "frame.h"

bool t2m_is_yuv(t2m_format format) { return format == T2M_NV12 || format == T2M_NV21 || format == T2M_I420; }

/* Bytes of one sample of a plane, and how far the next one is by default. */
static uint32_t sample_bytes(t2m_format format, uint32_t plane) {
  switch (format) {
    case T2M_RGB:
      return 3;
    case T2M_RGBA:
    case T2M_BGRA:
    case T2M_RGBX:
    case T2M_BGRX:
      return 4;
    case T2M_NV12:
    case T2M_NV21:
      return plane == 0 ? 1 : 2;
    default:
      return 1;
  }
}

/* Whether a plane holds what its frame claims; stride and step with their defaults filled in. */
static bool check_plane(const t2m_frame *frame, uint32_t index, int64_t *stride, int64_t *step) {
  const t2m_plane *plane = &frame->plane[index];
  uint32_t columns = index ? (frame->width + 1u) / 2u : frame->width;
  uint32_t rows = index ? (frame->height + 1u) / 2u : frame->height;
  uint32_t bytes = sample_bytes(frame->format, index);
  *step = plane->step ? plane->step : bytes;
  uint64_t row = (uint64_t)(columns - 1u) * (uint64_t)*step + bytes;
  *stride = plane->stride ? plane->stride : (int64_t)row;
  if (!plane->data || *step < (int64_t)bytes || *stride < (int64_t)row) return false;
  return (uint64_t)(rows - 1u) * (uint64_t)*stride + row <= plane->size;
}

t2m_status t2m_look(const t2m_frame *frame, bool stretch, t2m_view *view) {
  if (frame->width < 1 || frame->height < 1 || frame->width > T2M_MAX_FRAME_SIDE || frame->height > T2M_MAX_FRAME_SIDE)
    return T2M_ERROR_ARGUMENT;
  if ((uint32_t)frame->format >= T2M_FORMAT_COUNT || (uint32_t)frame->yuv >= T2M_YUV_COUNT) return T2M_ERROR_ARGUMENT;
  if (frame->rotation % 90u || frame->rotation > 270) return T2M_ERROR_ARGUMENT;
  t2m_view found;
  found.format = frame->format;
  found.tables = NULL;
  found.luma = frame->plane[0].data;
  found.u = found.v = NULL;
  found.chroma_stride = found.chroma_step = 0;
  if (!check_plane(frame, 0, &found.stride, &found.step)) return T2M_ERROR_FRAME;
  if (t2m_is_yuv(frame->format)) {
    if (!check_plane(frame, 1, &found.chroma_stride, &found.chroma_step)) return T2M_ERROR_FRAME;
    found.u = frame->plane[1].data;
    found.v = found.u + 1;
    if (frame->format == T2M_NV21) {
      found.v = found.u;
      found.u = found.v + 1;
    } else if (frame->format == T2M_I420) {
      int64_t stride, step;
      if (!check_plane(frame, 2, &stride, &step)) return T2M_ERROR_FRAME;
      if (stride != found.chroma_stride || step != found.chroma_step) return T2M_ERROR_FRAME;
      found.v = frame->plane[2].data;
    }
  }

  int32_t width = (int32_t)frame->width, height = (int32_t)frame->height;
  bool turned = frame->rotation == 90 || frame->rotation == 270;
  int32_t upright_width = turned ? height : width, upright_height = turned ? width : height;
  int32_t side = width < height ? width : height;
  int32_t left = stretch ? 0 : (upright_width - side) / 2, top = stretch ? 0 : (upright_height - side) / 2;
  found.width = (uint32_t)(stretch ? upright_width : side);
  found.height = (uint32_t)(stretch ? upright_height : side);
  /* Upright (0, 0) in the stored frame, and what a step right and a step down are there. */
  int32_t corner_x = 0, corner_y = 0;
  found.column_x = found.column_y = found.row_x = found.row_y = 0;
  switch (frame->rotation) {
    case 0:
      found.column_x = found.row_y = 1;
      break;
    case 90:
      corner_y = height - 1;
      found.column_y = -1;
      found.row_x = 1;
      break;
    case 180:
      corner_x = width - 1;
      corner_y = height - 1;
      found.column_x = found.row_y = -1;
      break;
    default:
      corner_x = width - 1;
      found.column_y = 1;
      found.row_x = -1;
  }
  found.x = corner_x + left * found.column_x + top * found.row_x;
  found.y = corner_y + left * found.column_y + top * found.row_y;
  *view = found;
  return T2M_OK;
}

/* factor / 10**6 * 64 * level, rounded as Pillow's tables are: half added, then truncated towards zero. */
static int16_t fixed(int32_t factor, int32_t level) {
  return (int16_t)(((int64_t)factor * 64 * level + 500000) / 1000000);
}

void t2m_fill_yuv_tables(t2m_yuv yuv, t2m_yuv_tables *tables) {
  /* Y, V to red, U to green, V to green, U to blue, in millionths; limited: times 255/219 and 255/224. */
  static const int32_t factors[T2M_YUV_COUNT][5] = {
      {1000000, 1402000, -344140, -714140, 1772000},
      {1164384, 1596027, -391762, -812968, 2017232},
      {1164384, 1792741, -213249, -532909, 2112402},
  };
  const int32_t *factor = factors[yuv];
  int32_t black = yuv == T2M_BT601_FULL ? 0 : 16;
  for (int32_t i = 0; i < 256; i++) {
    tables->y[i] = fixed(factor[0], i - black);
    tables->red_v[i] = fixed(factor[1], i - 128);
    tables->green_u[i] = fixed(factor[2], i - 128);
    tables->green_v[i] = fixed(factor[3], i - 128);
    tables->blue_u[i] = fixed(factor[4], i - 128);
  }
}

static uint8_t clamp(int32_t x) { return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x); }

/* A colour laid over white: Pillow's alpha_composite, 7 more bits, division by 255 rounded. */
static uint8_t over_white(uint32_t colour, uint32_t alpha) {
  uint32_t sum = ((colour * alpha + 255u * (255u - alpha)) << 7) + (0x80u << 7);
  return (uint8_t)((((sum >> 8) + sum) >> 8) >> 7);
}

static void read_packed(const t2m_view *view, const uint8_t *from, int64_t step, uint8_t *pixels) {
  bool grey = view->format == T2M_GRAY, swapped = view->format == T2M_BGRA || view->format == T2M_BGRX;
  bool alpha = view->format == T2M_RGBA || view->format == T2M_BGRA;
  uint32_t red = swapped ? 2 : 0, green = grey ? 0 : 1, blue = grey || swapped ? 0 : 2;
  for (uint32_t i = 0; i < view->width; i++, pixels += 4) {
    const uint8_t *at = from + (int64_t)i * step;
    pixels[0] = at[red];
    pixels[1] = at[green];
    pixels[2] = at[blue];
    pixels[3] = 0;
    if (alpha && at[3] != 255)
      for (uint32_t c = 0; c < 3; c++) pixels[c] = over_white(pixels[c], at[3]);
  }
}

static void read_yuv(const t2m_view *view, int32_t x, int32_t y, uint8_t *pixels) {
  const t2m_yuv_tables *tables = view->tables;
  for (uint32_t i = 0; i < view->width; i++, pixels += 4, x += view->column_x, y += view->column_y) {
    int32_t luma = tables->y[view->luma[y * view->stride + x * view->step]];
    int64_t chroma = (y / 2) * view->chroma_stride + (x / 2) * view->chroma_step;
    uint8_t u = view->u[chroma], v = view->v[chroma];
    pixels[0] = clamp((luma + tables->red_v[v]) >> 6);
    pixels[1] = clamp((luma + tables->green_u[u] + tables->green_v[v]) >> 6);
    pixels[2] = clamp((luma + tables->blue_u[u]) >> 6);
    pixels[3] = 0;
  }
}

void t2m_read_row(const t2m_view *view, uint32_t row, uint8_t *pixels) {
  int32_t x = view->x + (int32_t)row * view->row_x, y = view->y + (int32_t)row * view->row_y;
  if (t2m_is_yuv(view->format)) {
    read_yuv(view, x, y, pixels);
  } else {
    int64_t step = view->column_x * view->step + view->column_y * view->stride;
    read_packed(view, view->luma + y * view->stride + x * view->step, step, pixels);
  }
}
