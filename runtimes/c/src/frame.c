#include "frame.h"

#include "kernels.h"

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
  found.kernel = NULL;
  found.offsets = NULL;
  found.offsets_of = -1;
  found.line = NULL;
  found.is_full = frame->yuv == T2M_BT601_FULL;
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

static void read_packed(const t2m_view *view, const uint8_t *from, int64_t step, t2m_pixels pixels) {
  bool grey = view->format == T2M_GRAY, swapped = view->format == T2M_BGRA || view->format == T2M_BGRX;
  bool alpha = view->format == T2M_RGBA || view->format == T2M_BGRA;
  uint32_t from_red = swapped ? 2 : 0, from_green = grey ? 0 : 1, from_blue = grey || swapped ? 0 : 2;
  uint8_t *red = pixels.data, *green = red + pixels.plane, *blue = green + pixels.plane;
  for (uint32_t i = 0; i < view->width; i++, from += step) {
    red[i] = from[from_red];
    green[i] = from[from_green];
    blue[i] = from[from_blue];
    if (alpha && from[3] != 255) {
      red[i] = over_white(red[i], from[3]);
      green[i] = over_white(green[i], from[3]);
      blue[i] = over_white(blue[i], from[3]);
    }
  }
}

/* The colour offsets of one line of chroma samples, `count` from `first` on, `step` bytes apart. */
static void fill_offsets(const t2m_view *view, int64_t first, int64_t step, uint32_t count) {
  const t2m_yuv_tables *tables = view->tables;
  int16_t *red = view->offsets, *green = red + t2m_offsets_of(view->width), *blue = green + t2m_offsets_of(view->width);
  for (uint32_t i = 0; i < count; i++, first += step) {
    uint32_t u = view->u[first], v = view->v[first];
    red[i] = tables->red_v[v];
    green[i] = (int16_t)(tables->green_u[u] + tables->green_v[v]);
    blue[i] = tables->blue_u[u];
  }
}

void t2m_colour_reference(const t2m_colours *row) {
  uint8_t *red = row->out.data, *green = red + row->out.plane, *blue = green + row->out.plane;
  for (uint32_t i = 0; i < row->count; i++) {
    int32_t luma = row->y ? row->y[row->luma[i]] : row->luma[i] * 64;
    red[i] = clamp((luma + row->red[i / 2]) >> 6);
    green[i] = clamp((luma + row->green[i / 2]) >> 6);
    blue[i] = clamp((luma + row->blue[i / 2]) >> 6);
  }
}

static void read_yuv(t2m_view *view, int32_t x, int32_t y, t2m_pixels pixels) {
  bool level = view->column_x != 0;
  int32_t along = level ? x : y, across = level ? y : x, step = view->column_x + view->column_y;
  /* The first chroma sample may serve one pixel only. */
  uint32_t alone = (uint32_t)(along & 1) ^ (step < 0);
  if (view->offsets_of != across / 2) {
    int64_t chroma = (y / 2) * view->chroma_stride + (x / 2) * view->chroma_step;
    fill_offsets(view, chroma, step * (level ? view->chroma_step : view->chroma_stride), (view->width + alone + 1u) / 2u);
    view->offsets_of = across / 2;
  }
  const uint8_t *luma = view->luma + y * view->stride + x * view->step;
  int64_t luma_step = view->column_x * view->step + view->column_y * view->stride;
  if (luma_step != 1) {
    for (uint32_t i = 0; i < view->width; i++) view->line[i] = luma[(int64_t)i * luma_step];
    luma = view->line;
  }
  const int16_t *red = view->offsets, *green = red + t2m_offsets_of(view->width);
  const int16_t *blue = green + t2m_offsets_of(view->width), *table = view->is_full ? NULL : view->tables->y;
  t2m_colours first = {luma, table, red, green, blue, alone, pixels};
  t2m_pixels after = {pixels.data + alone, pixels.plane};
  t2m_colours others = {luma + alone, table, red + alone, green + alone, blue + alone, view->width - alone, after};
  t2m_colour_reference(&first);
  view->kernel->colour(&others);
}

void t2m_read_row(t2m_view *view, uint32_t row, t2m_pixels pixels) {
  int32_t x = view->x + (int32_t)row * view->row_x, y = view->y + (int32_t)row * view->row_y;
  if (t2m_is_yuv(view->format)) {
    read_yuv(view, x, y, pixels);
  } else {
    int64_t step = view->column_x * view->step + view->column_y * view->stride;
    read_packed(view, view->luma + y * view->stride + x * view->step, step, pixels);
  }
}
