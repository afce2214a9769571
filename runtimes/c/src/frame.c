#include "frame.h"

#include "kernels.h"

/* A factor in millionths as t2m_yuv_factors has it: 6 bits for the fixed point, T2M_FACTOR_BITS for the factor. */
#define FACTOR(millionths) (int32_t)(((int64_t)(millionths) * (64 << T2M_FACTOR_BITS) + 500000) / 1000000)
#define FACTORS(black, y, red_v, green_u, green_v, blue_u) \
  { black, FACTOR(y), FACTOR(red_v), -FACTOR(-(green_u)), -FACTOR(-(green_v)), FACTOR(blue_u) }

/* In the order of t2m_yuv. Limited: times 255/219 and 255/224. */
static const t2m_yuv_factors factors[T2M_YUV_COUNT] = {
    FACTORS(0, 1000000, 1402000, -344140, -714140, 1772000),
    FACTORS(16, 1164384, 1596027, -391762, -812968, 2017232),
    FACTORS(16, 1164384, 1792741, -213249, -532909, 2112402),
};

static bool is_yuv(t2m_format format) { return format == T2M_NV12 || format == T2M_NV21 || format == T2M_I420; }

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

static bool is_turned(const t2m_frame *frame) { return frame->rotation == 90 || frame->rotation == 270; }

/* Whether a plane holds what its frame claims. lines: what serves `count` pixels from `along` on in each line. */
static bool describe(const t2m_frame *frame, uint32_t index, uint32_t along, uint32_t count, t2m_lines *lines) {
  const t2m_plane *plane = &frame->plane[index];
  const uint32_t halved = index ? 1 : 0; /* chroma has half of the rows and columns */
  uint32_t columns = (frame->width + halved) >> halved, rows = (frame->height + halved) >> halved;
  uint32_t bytes = sample_bytes(frame->format, index);
  int64_t step = plane->step ? plane->step : bytes;
  uint64_t row = (uint64_t)(columns - 1u) * (uint64_t)step + bytes;
  int64_t stride = plane->stride ? plane->stride : (int64_t)row;
  if (!plane->data || step < (int64_t)bytes || stride < (int64_t)row) return false;
  if ((uint64_t)(rows - 1u) * (uint64_t)stride + row > plane->size) return false;
  lines->stride = is_turned(frame) ? step : stride;
  lines->step = is_turned(frame) ? stride : step;
  lines->lines = is_turned(frame) ? columns : rows;
  lines->data = plane->data + (along >> halved) * lines->step;
  lines->count = ((along + count - 1u) >> halved) - (along >> halved) + 1u;
  return true;
}

t2m_status t2m_look(const t2m_frame *frame, bool stretch, t2m_view *view) {
  if (frame->width < 1 || frame->height < 1 || frame->width > T2M_MAX_FRAME_SIDE || frame->height > T2M_MAX_FRAME_SIDE)
    return T2M_ERROR_ARGUMENT;
  if ((uint32_t)frame->format >= T2M_FORMAT_COUNT || (uint32_t)frame->yuv >= T2M_YUV_COUNT) return T2M_ERROR_ARGUMENT;
  if (frame->rotation % 90u || frame->rotation > 270) return T2M_ERROR_ARGUMENT;
  uint32_t width = frame->width, height = frame->height;
  if (is_turned(frame)) {
    width = frame->height;
    height = frame->width;
  }
  uint32_t side = width < height ? width : height;
  const t2m_view none = {0};
  *view = none;
  view->format = frame->format;
  view->factors = &factors[frame->yuv];
  view->width = stretch ? width : side;
  view->height = stretch ? height : side;
  view->mirrored = frame->rotation == 90 || frame->rotation == 180;
  view->backwards = frame->rotation >= 180;
  view->chroma_line = T2M_NO_LINE;
  uint32_t left = (width - view->width) / 2u, top = (height - view->height) / 2u;
  uint32_t along = view->mirrored ? width - view->width - left : left;
  view->first = view->backwards ? height - 1u - top : top;
  view->alone = along & 1u;

  uint32_t planes = !is_yuv(frame->format) ? 1 : frame->format == T2M_I420 ? 3 : 2;
  for (uint32_t i = 0; i < planes; i++)
    if (!describe(frame, i, along, view->width, &view->plane[i])) return T2M_ERROR_FRAME;
  t2m_lines *first = &view->plane[1], *second = &view->plane[2];
  if (planes == 3 && (first->stride != second->stride || first->step != second->step)) return T2M_ERROR_FRAME;
  if (planes == 2) {
    *second = *first;
    second->data++;
    if (first->stride == 2) {
      view->paired = true;
      first->stride = 1;
      first->lines *= 2u;
    }
  }
  return T2M_OK;
}

void t2m_give_memory(t2m_view *view, int16_t *offsets, uint8_t *gathered, uint32_t size) {
  uint32_t lines = size / t2m_gathered_of(view->width);
  view->offsets = offsets;
  for (uint32_t i = 0; i < 3; i++) {
    uint32_t most = i && view->paired ? 2u * lines : lines;
    view->plane[i].most = most < T2M_GATHERED ? most : T2M_GATHERED;
    view->plane[i].gathered = gathered;
    gathered += view->plane[i].most * view->plane[i].count;
  }
}

/* What a level contributes, in 6-bit fixed point, rounded as Pillow's tables are: half added, then cut towards zero. */
static int32_t contribution(int32_t level, int32_t factor) {
  int32_t product = level * factor + (1 << (T2M_FACTOR_BITS - 1));
  if (product < 0) product += (1 << T2M_FACTOR_BITS) - 1;
  return product >> T2M_FACTOR_BITS;
}

static uint8_t clamp(int32_t x) { return (uint8_t)(x < 0 ? 0 : x > 255 ? 255 : x); }

/* A colour laid over white: Pillow's alpha_composite, 7 more bits, division by 255 rounded. */
static uint8_t over_white(uint32_t colour, uint32_t alpha) {
  uint32_t sum = ((colour * alpha + 255u * (255u - alpha)) << 7) + (0x80u << 7);
  return (uint8_t)((((sum >> 8) + sum) >> 8) >> 7);
}

static void read_packed(const t2m_view *view, uint32_t line, t2m_pixels pixels) {
  bool grey = view->format == T2M_GRAY, swapped = view->format == T2M_BGRA || view->format == T2M_BGRX;
  bool alpha = view->format == T2M_RGBA || view->format == T2M_BGRA;
  uint32_t from_red = swapped ? 2 : 0, from_green = grey ? 0 : 1, from_blue = grey || swapped ? 0 : 2;
  uint8_t *red = pixels.data, *green = red + pixels.plane, *blue = green + pixels.plane;
  const uint8_t *from = view->plane[0].data + line * view->plane[0].stride;
  const int64_t step = view->plane[0].step;
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

void t2m_gather_reference(const t2m_gathering *lines) {
  const uint8_t *from = lines->from;
  uint8_t *to = lines->to;
  const int64_t stride = lines->stride, step = lines->step;
  const uint32_t pitch = lines->pitch;
  for (uint32_t i = 0; i < lines->count; i++, from += step, to++) {
    const uint8_t *sample = from;
    uint8_t *out = to;
    T2M_FETCH(from, T2M_AHEAD * step);
    for (uint32_t left = lines->lines; left; left--, sample += stride, out += pitch) *out = *sample;
  }
}

/* One line's samples in one piece. Where they lie apart, as those of a turned frame do, neighbouring lines lie side by
 * side: one walk gathers many of them.
 */
static const uint8_t *read_line(const t2m_kernel *kernel, t2m_lines *plane, uint32_t line) {
  if (plane->step == 1) return plane->data + line * plane->stride;
  if (line - plane->first >= plane->ready) {
    plane->first = line - line % plane->most;
    plane->ready = plane->lines - plane->first < plane->most ? plane->lines - plane->first : plane->most;
    t2m_gathering lines = {plane->data + plane->first * plane->stride, plane->stride, plane->step, plane->ready,
                           plane->count, plane->gathered, plane->count};
    kernel->gather(&lines);
  }
  return plane->gathered + (line - plane->first) * plane->count;
}

void t2m_offsets_reference(const t2m_chroma *line, uint32_t from) {
  const t2m_chroma_part a = line->first, b = line->second;
  for (uint32_t i = from; i < line->count; i++) {
    int32_t first = a.samples[i * line->step] - 128, second = b.samples[i * line->step] - 128;
    a.offsets[i] = (int16_t)contribution(first, a.factor);
    b.offsets[i] = (int16_t)contribution(second, b.factor);
    line->green[i] = (int16_t)(contribution(first, a.green) + contribution(second, b.green));
  }
}

void t2m_colour_reference(const t2m_colours *row) {
  uint8_t *red = row->out.data, *green = red + row->out.plane, *blue = green + row->out.plane;
  for (uint32_t i = 0; i < row->count; i++) {
    int32_t luma = contribution(row->luma[i] - row->factors->black, row->factors->y);
    red[i] = clamp((luma + row->red[i / 2]) >> 6);
    green[i] = clamp((luma + row->green[i / 2]) >> 6);
    blue[i] = clamp((luma + row->blue[i / 2]) >> 6);
  }
}

/* The colour offsets of one line of chroma samples. */
static void read_chroma(t2m_view *view, uint32_t line, int16_t *red, int16_t *green, int16_t *blue) {
  t2m_lines *first = &view->plane[1], *second = &view->plane[2];
  const bool in_turn = view->format != T2M_I420 && first->step == 2;
  const t2m_yuv_factors *by = view->factors;
  t2m_chroma_part u = {NULL, by->blue_u, by->green_u, blue}, v = {NULL, by->red_v, by->green_v, red};
  t2m_chroma chroma = {u, v, 1, first->count, green};
  if (view->format == T2M_NV21) {
    chroma.first = v;
    chroma.second = u;
  }
  if (view->paired) {
    chroma.first.samples = read_line(view->kernel, first, 2u * line);
    chroma.second.samples = read_line(view->kernel, first, 2u * line + 1u);
  } else if (in_turn) {
    chroma.first.samples = first->data + line * first->stride;
    chroma.second.samples = chroma.first.samples + 1;
    chroma.step = 2;
  } else {
    chroma.first.samples = read_line(view->kernel, first, line);
    chroma.second.samples = read_line(view->kernel, second, line);
  }
  view->kernel->offsets(&chroma, 0);
}

static void read_yuv(t2m_view *view, uint32_t line, t2m_pixels pixels) {
  const uint32_t room = t2m_offsets_of(view->width), alone = view->alone;
  int16_t *red = view->offsets, *green = red + room, *blue = green + room;
  if (view->chroma_line != line / 2u) {
    view->chroma_line = line / 2u;
    read_chroma(view, line / 2u, red, green, blue);
  }
  const uint8_t *luma = read_line(view->kernel, &view->plane[0], line);
  t2m_colours first = {luma, view->factors, red, green, blue, alone, pixels};
  t2m_pixels after = {pixels.data + alone, pixels.plane};
  t2m_colours others = {luma + alone, view->factors,       red + alone, green + alone,
                        blue + alone, view->width - alone, after};
  t2m_colour_reference(&first);
  view->kernel->colour(&others);
}

void t2m_read_row(t2m_view *view, uint32_t row, t2m_pixels pixels) {
  uint32_t line = view->backwards ? view->first - row : view->first + row;
  if (is_yuv(view->format)) {
    read_yuv(view, line, pixels);
  } else {
    read_packed(view, line, pixels);
  }
}
