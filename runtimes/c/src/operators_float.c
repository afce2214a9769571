#include "numbers.h"
#include "operators.h"

static float rectified(const t2m_operator *op, float x) { return op->relu && x < 0 ? 0 : x; }

/* The values under the windows of T2M_TILE output pixels, pixel by pixel in turn: rows[k * T2M_TILE + pixel]. */
static void fill_columns(const t2m_operator *op, const float *in, uint32_t first, float *rows) {
  uint32_t pixels = op->out_height * op->out_width, channels = op->in_channels;
  for (uint32_t i = 0; i < T2M_TILE; i++) {
    float *to = rows + i;
    uint32_t pixel = first + i < pixels ? first + i : pixels - 1u;
    uint32_t top = pixel / op->out_width * op->stride_height, left = pixel % op->out_width * op->stride_width;
    for (uint32_t ky = 0; ky < op->kernel_height; ky++) {
      for (uint32_t kx = 0; kx < op->kernel_width; kx++) {
        uint32_t y = top + ky - op->pad_top, x = left + kx - op->pad_left; /* wraps outside: beyond the image */
        bool inside = y < op->in_height && x < op->in_width;
        const float *from = in + (inside ? (y * op->in_width + x) * channels : 0);
        for (uint32_t c = 0; c < channels; c++, to += T2M_TILE) *to = inside ? from[c] : 0;
      }
    }
  }
}

void t2m_conv_float(const t2m_operator *op, const uint8_t *file, const float *in, float *out, float *scratch) {
  const float *weights = (const float *)(const void *)(file + op->weight);
  uint32_t pixels = op->out_height * op->out_width, channels = op->out_channels;
  uint32_t depth = op->kernel_height * op->kernel_width * op->in_channels;
  for (uint32_t first = 0; first < pixels; first += T2M_TILE) {
    fill_columns(op, in, first, scratch);
    uint32_t count = pixels - first < T2M_TILE ? pixels - first : T2M_TILE;
    for (uint32_t c = 0; c < channels; c++) {
      const float *filter = weights + (size_t)c * depth, *row = scratch;
      float sums[T2M_TILE] = {0, 0, 0, 0};
      for (uint32_t k = 0; k < depth; k++, row += T2M_TILE) {
        sums[0] += filter[k] * row[0];
        sums[1] += filter[k] * row[1];
        sums[2] += filter[k] * row[2];
        sums[3] += filter[k] * row[3];
      }
      float bias = op->bias ? t2m_load_f32(file + op->bias + 4u * c) : 0;
      for (uint32_t i = 0; i < count; i++) out[(size_t)(first + i) * channels + c] = rectified(op, sums[i] + bias);
    }
  }
}

void t2m_depthwise_float(const t2m_operator *op, const uint8_t *file, const float *in, float *out) {
  const float *weights = (const float *)(const void *)(file + op->weight);
  uint32_t channels = op->out_channels;
  for (uint32_t y = 0; y < op->out_height; y++) {
    for (uint32_t x = 0; x < op->out_width; x++) {
      for (uint32_t c = 0; c < channels; c++) {
        float sum = 0;
        for (uint32_t ky = 0; ky < op->kernel_height; ky++) {
          uint32_t in_y = y * op->stride_height + ky - op->pad_top; /* wraps above the image: beyond it */
          if (in_y >= op->in_height) continue;
          for (uint32_t kx = 0; kx < op->kernel_width; kx++) {
            uint32_t in_x = x * op->stride_width + kx - op->pad_left;
            if (in_x >= op->in_width) continue;
            sum += in[(in_y * op->in_width + in_x) * channels + c] * weights[(ky * op->kernel_width + kx) * channels + c];
          }
        }
        sum += op->bias ? t2m_load_f32(file + op->bias + 4u * c) : 0;
        out[(y * op->out_width + x) * channels + c] = rectified(op, sum);
      }
    }
  }
}

void t2m_add_float(const t2m_operator *op, const float *a, const float *b, float *out) {
  uint32_t count = op->out_height * op->out_width * op->out_channels;
  for (uint32_t i = 0; i < count; i++) out[i] = rectified(op, a[i] + b[i]);
}

void t2m_mean_float(const t2m_operator *op, const float *in, float *out) {
  uint32_t pixels = op->in_height * op->in_width, channels = op->in_channels;
  for (uint32_t c = 0; c < channels; c++) {
    float sum = 0;
    for (uint32_t i = 0; i < pixels; i++) sum += in[(size_t)i * channels + c];
    out[c] = sum / (float)pixels;
  }
}

void t2m_unit_float(const t2m_operator *op, const float *in, float *out) {
  float squares = 0;
  for (uint32_t i = 0; i < op->in_channels; i++) squares += in[i] * in[i];
  float length = t2m_square_root(squares);
  if (length < 1e-6f) length = 1e-6f;
  for (uint32_t i = 0; i < op->in_channels; i++) out[i] = in[i] / length;
}

void t2m_dequantize_uint8(const t2m_operator *op, const uint8_t *in, float *out) {
  uint32_t count = op->in_height * op->in_width * op->in_channels;
  for (uint32_t i = 0; i < count; i++) out[i] = op->input_scale * (float)(in[i] - op->input_zero);
}

void t2m_softmax(float *x, uint32_t count) {
  float largest = x[0], sum = 0;
  for (uint32_t i = 1; i < count; i++)
    if (x[i] > largest) largest = x[i];
  for (uint32_t i = 0; i < count; i++) {
    x[i] = t2m_exponential(x[i] - largest);
    sum += x[i];
  }
  for (uint32_t i = 0; i < count; i++) x[i] /= sum;
}

void t2m_sigmoid(float *x, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    /* Far below 0, LiteRT leaves the denominator out. */
    float power = t2m_exponential(x[i] < 0 ? x[i] : -x[i]);
    x[i] = x[i] < -9.0f ? power : (x[i] < 0 ? power : 1.0f) / (1.0f + power);
  }
}
