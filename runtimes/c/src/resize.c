/* Preparation, version 1 (t2m_runtime/preparation.py): the crop of the frame, then Pillow's BILINEAR resize. */
#include "arena.h"
#include "frame.h"
#include "kernels.h"

typedef struct scaling {
  uint32_t source;
  double scale, support;
} scaling;

static scaling make_scaling(uint32_t source, uint32_t target) {
  double scale = (double)source / (double)target;
  scaling made = {source, scale, scale < 1.0 ? 1.0 : scale};
  return made;
}

static double triangle(double x) {
  if (x < 0) x = -x;
  return x < 1.0 ? 1.0 - x : 0.0;
}

/* The span of output pixel `index` and its weights, which sum to 1 before they are rounded. */
static t2m_span find_span(const scaling *axis, uint32_t index, int32_t *weights) {
  double centre = ((double)index + 0.5) * axis->scale, inverse = 1.0 / axis->support, sum = 0;
  double low = centre - axis->support + 0.5, high = centre + axis->support + 0.5;
  uint32_t first = low > 0 ? (uint32_t)low : 0u, end = (uint32_t)high;
  if (end > axis->source) end = axis->source;
  t2m_span found = {first, end - first};
  for (uint32_t i = 0; i < found.count; i++) sum += triangle(((double)(i + first) - centre + 0.5) * inverse);
  for (uint32_t i = 0; i < found.count; i++) {
    double weight = triangle(((double)(i + first) - centre + 0.5) * inverse);
    if (sum != 0.0) weight /= sum;
    weights[i] = (int32_t)(0.5 + weight * (double)(1 << T2M_WEIGHT_BITS));
  }
  return found;
}

static uint8_t rounded(int32_t sum) {
  sum >>= T2M_WEIGHT_BITS;
  return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

void t2m_across_reference(const t2m_resize *resize) {
  const int16_t *low = resize->low, *high = resize->high;
  uint8_t *row = resize->row;
  uint32_t plane = resize->pixels.plane;
  for (uint32_t x = 0; x < resize->width; x++, low += resize->taps, high += resize->taps, row += 3) {
    const uint8_t *from = resize->pixels.data + resize->spans[x].first;
    int32_t red = 1 << (T2M_WEIGHT_BITS - 1), green = red, blue = red;
    for (uint32_t i = 0; i < resize->spans[x].count; i++, from++) {
      int32_t weight = high[i] * (1 << T2M_LOW_BITS) + low[i];
      red += weight * from[0];
      green += weight * from[plane];
      blue += weight * from[2u * plane];
    }
    row[0] = rounded(red);
    row[1] = rounded(green);
    row[2] = rounded(blue);
  }
}

void t2m_down_reference(const t2m_blend *blend, uint32_t from) {
  for (uint32_t i = from; i < blend->width; i++) {
    const uint8_t *row = blend->rows + i;
    int32_t sum = 1 << (T2M_WEIGHT_BITS - 1);
    for (uint32_t k = 0; k < blend->count; k++, row += blend->width) sum += blend->weights[k] * *row;
    blend->out[i] = rounded(sum);
  }
}

t2m_status t2m_prepare(t2m_model *model, const t2m_frame *frame) {
  if (!model || !frame) return T2M_ERROR_ARGUMENT;
  t2m_view view;
  t2m_status status = t2m_look(frame, model->facts.stretch, &view);
  if (status) return status;
  uint32_t height = model->facts.height, width = model->facts.width;
  uint32_t side = view.width > view.height ? view.width : view.height;
  t2m_frame_memory memory = t2m_plan_frame(side, height, width);
  uint8_t *image = t2m_input(model), *free = image + t2m_align(height * width * 3u);
  uint32_t room = model->layout.size - model->layout.input - t2m_align(height * width * 3u);
  if (memory.size > room) return T2M_ERROR_FRAME_TOO_LARGE;
  model->ran = 0;

  uint8_t *rows = free + memory.rows;
  t2m_pixels pixels = {free + memory.pixels, memory.plane};
  t2m_span *spans = (t2m_span *)(void *)(free + memory.spans);
  int16_t *low = (int16_t *)(void *)(free + memory.weights), *high = low + width * memory.padded;
  int32_t *column = (int32_t *)(void *)(free + memory.column), *weights = column + memory.taps;
  view.kernel = model->kernel;
  t2m_give_memory(&view, (int16_t *)(void *)(free + memory.offsets), free + memory.gathered, room - memory.gathered);

  scaling across = make_scaling(view.width, width), down = make_scaling(view.height, height);
  for (uint32_t x = 0; x < width; x++) {
    t2m_span span = find_span(&across, x, column);
    for (uint32_t i = 0; i < memory.padded; i++) {
      int32_t weight = i < span.count ? column[view.mirrored ? span.count - 1u - i : i] : 0;
      low[x * memory.padded + i] = (int16_t)(weight & ((1 << T2M_LOW_BITS) - 1));
      high[x * memory.padded + i] = (int16_t)(weight >> T2M_LOW_BITS);
    }
    if (view.mirrored) span.first = view.width - span.count - span.first;
    spans[x] = span;
  }
  /* Each source row is resized once, into a ring of as many rows as one output row sees. */
  uint32_t ready = 0;
  for (uint32_t y = 0; y < height; y++) {
    t2m_span seen = find_span(&down, y, column);
    if (ready < seen.first) ready = seen.first;
    for (; ready < seen.first + seen.count; ready++) {
      t2m_read_row(&view, ready, pixels);
      t2m_resize resize = {pixels, spans, low, high, memory.padded, width, rows + ready % memory.taps * (3u * width)};
      model->kernel->across(&resize);
    }
    for (uint32_t k = 0; k < memory.taps; k++) weights[k] = 0;
    for (uint32_t k = 0; k < seen.count; k++) weights[(seen.first + k) % memory.taps] = column[k];
    t2m_blend blend = {rows, weights, memory.taps, 3u * width, image + (size_t)y * 3u * width};
    model->kernel->down(&blend, 0);
  }
  return T2M_OK;
}
