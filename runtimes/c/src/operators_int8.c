#include "arena.h"
#include "numbers.h"
#include "operators.h"
#include "rows.h"

/* Where the scaling tables of an operator lie in its scratch. */
static t2m_scaling tables(uint8_t *scratch, uint32_t channels) {
  int32_t *first = (int32_t *)(void *)scratch;
  t2m_scaling scaling = {first, first + channels, first + 2u * channels};
  return scaling;
}

/* The scaling of every output channel, from the scales in the file: computed anew at every run, since a table that
 * stays would cost more memory than the time is worth.
 */
static t2m_scaling fill_scaling(const t2m_operator *op, const uint8_t *file, uint8_t *scratch) {
  t2m_scaling scaling = tables(scratch, op->out_channels);
  /* FULLY_CONNECTED with one scale multiplies in float (TFLite's GetQuantizedConvolutionMultiplier); a channel's own
   * scale, in double. Only one output channel makes a difference that a file of ours can show.
   */
  for (uint32_t i = 0; i < op->out_channels; i++) {
    float weight_scale = t2m_load_f32(file + op->weight_scale + 4u * (op->weight_scales == 1 ? 0 : i));
    double product = (double)op->input_scale * (double)weight_scale;
    if (op->dense && op->weight_scales == 1) {
      float rounded = op->input_scale * weight_scale;
      product = (double)rounded;
    }
    scaling.bias[i] = op->bias ? (int32_t)t2m_load_u32(file + op->bias + 4u * i) : 0;
    t2m_quantize_multiplier(product / (double)op->output_scale, &scaling.multiplier[i], &scaling.shift[i]);
  }
  return scaling;
}

static int32_t lowest(const t2m_operator *op) { return op->relu ? op->output_zero : -128; }

void t2m_conv_int8(const t2m_kernel *kernel, const t2m_operator *op, const uint8_t *file, const int8_t *in, int8_t *out,
                   uint8_t *scratch) {
  t2m_product product;
  product.depth = op->kernel_height * op->kernel_width * op->in_channels;
  product.channels = op->out_channels;
  product.weights = (const int8_t *)(file + op->weight);
  product.scaling = fill_scaling(op, file, scratch);
  product.zero = op->output_zero;
  product.low = lowest(op);
  product.rounds_once = op->dense;
  product.has_lowest = 0;
  if (kernel->row_bytes == 1) kernel->correct(&product, op->input_zero);
  t2m_rows rows = {kernel, op, in, scratch + t2m_rows_offset(op), t2m_row_length(product.depth), 0, 0, 0, 0, 0};
  uint32_t pixels = op->out_height * op->out_width;
  for (uint32_t first = 0; first < pixels; first += T2M_TILE) {
    product.pixels = pixels - first < T2M_TILE ? pixels - first : T2M_TILE;
    product.out = out + (size_t)first * op->out_channels;
    t2m_next_rows(&rows, product.pixels, product.rows);
    kernel->product(&product);
  }
}

/* sums += (values - zero) * weights, for T2M_BLOCK channels: a count that compilers know, so that they use vectors. */
static void multiply_channels(int32_t sums[T2M_BLOCK], const int8_t *values, const int8_t *weights, int32_t zero,
                              uint32_t count) {
  if (count == T2M_BLOCK) {
    for (uint32_t i = 0; i < T2M_BLOCK; i++) sums[i] += (int16_t)(values[i] - zero) * weights[i];
  } else {
    for (uint32_t i = 0; i < count; i++) sums[i] += (values[i] - zero) * weights[i];
  }
}

void t2m_depthwise_int8(const t2m_operator *op, const uint8_t *file, const int8_t *in, int8_t *out, uint8_t *scratch) {
  t2m_scaling scaling = fill_scaling(op, file, scratch);
  uint32_t channels = op->out_channels, pixels = op->out_height * op->out_width;
  for (uint32_t pixel = 0; pixel < pixels; pixel++) {
    /* Both wrap above or left of the image: beyond it. */
    uint32_t top = pixel / op->out_width * op->stride_height - op->pad_top;
    uint32_t left = pixel % op->out_width * op->stride_width - op->pad_left;
    for (uint32_t first = 0; first < channels; first += T2M_BLOCK) {
      uint32_t count = channels - first < T2M_BLOCK ? channels - first : T2M_BLOCK;
      int32_t sums[T2M_BLOCK] = {0};
      const int8_t *weights = (const int8_t *)(file + op->weight) + first;
      for (uint32_t ky = 0; ky < op->kernel_height; ky++) {
        for (uint32_t kx = 0; kx < op->kernel_width; kx++, weights += channels) {
          uint32_t y = top + ky, x = left + kx;
          if (y >= op->in_height || x >= op->in_width) continue;
          multiply_channels(sums, in + (y * op->in_width + x) * channels + first, weights, op->input_zero, count);
        }
      }
      int8_t *to = out + pixel * channels + first;
      for (uint32_t i = 0; i < count; i++) {
        int32_t sum = (int32_t)((uint32_t)sums[i] + (uint32_t)scaling.bias[first + i]);
        int32_t scaled = t2m_scale_twice(sum, scaling.multiplier[first + i], scaling.shift[first + i]);
        scaled = (int32_t)((uint32_t)scaled + (uint32_t)op->output_zero);
        to[i] = (int8_t)t2m_clamp(scaled, lowest(op), 127);
      }
    }
  }
}

void t2m_add_int8(const t2m_kernel *kernel, const t2m_operator *op, const int8_t *a, const int8_t *b, int8_t *out) {
  float larger = op->input_scale > op->other_scale ? op->input_scale : op->other_scale;
  double twice = 2.0 * (double)larger;
  t2m_addition addition = {{0}, {0}, {op->input_zero, op->other_zero, op->output_zero}, lowest(op)};
  t2m_quantize_multiplier((double)op->input_scale / twice, &addition.multiplier[0], &addition.shift[0]);
  t2m_quantize_multiplier((double)op->other_scale / twice, &addition.multiplier[1], &addition.shift[1]);
  double back = twice / (1048576.0 * (double)op->output_scale);
  t2m_quantize_multiplier(back, &addition.multiplier[2], &addition.shift[2]);
  kernel->add(&addition, a, b, out, op->out_height * op->out_width * op->out_channels);
}

void t2m_mean_int8(const t2m_operator *op, const int8_t *in, int8_t *out) {
  uint32_t pixels = op->in_height * op->in_width, channels = op->in_channels;
  int32_t multiplier, shift;
  t2m_quantize_multiplier((double)op->input_scale / (double)op->output_scale, &multiplier, &shift);
  /* The division by the number of pixels goes into the multiplier, with as many more bits as 64 allow. */
  int32_t more = 0;
  while (more < 32 && pixels >> (more + 1)) more++;
  if (more > 31 + shift) more = 31 + shift;
  multiplier = (int32_t)(((int64_t)multiplier << more) / (int64_t)pixels);
  shift -= more;
  for (uint32_t c = 0; c < channels; c++) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < pixels; i++) sum += in[(size_t)i * channels + c] - op->input_zero;
    int32_t scaled = t2m_scale_twice(sum, multiplier, shift);
    scaled = (int32_t)((uint32_t)scaled + (uint32_t)op->output_zero);
    out[c] = (int8_t)t2m_clamp(scaled, -128, 127);
  }
}

void t2m_unit_int8(const t2m_operator *op, const int8_t *in, int8_t *out) {
  int32_t squares = 0, multiplier, shift;
  for (uint32_t i = 0; i < op->in_channels; i++) {
    int32_t value = in[i] - op->input_zero;
    squares += value * value;
  }
  t2m_inverse_square_root(squares, &multiplier, &shift);
  for (uint32_t i = 0; i < op->in_channels; i++) {
    int32_t scaled = t2m_scale_twice(in[i] - op->input_zero, multiplier, shift + 7);
    out[i] = (int8_t)t2m_clamp(scaled, -128, 127);
  }
}

void t2m_quantize(const t2m_operator *op, const uint8_t *in, int8_t *out) {
  uint32_t count = op->in_height * op->in_width * op->in_channels;
  if (op->input_scale == op->output_scale && op->input_zero == op->output_zero + 128) {
    const uint8_t *end = in + count;
    for (; end - in >= 4; in += 4, out += 4) {
      /* Written out, so that compilers make one word of it. */
      uint32_t four = t2m_load_u32(in) ^ 0x80808080u;
      out[0] = (int8_t)four;
      out[1] = (int8_t)(four >> 8);
      out[2] = (int8_t)(four >> 16);
      out[3] = (int8_t)(four >> 24);
    }
    for (; in < end; in++, out++) *out = (int8_t)(*in ^ 0x80u);
    return;
  }
  int32_t multiplier, shift;
  t2m_quantize_multiplier((double)op->input_scale / (double)op->output_scale, &multiplier, &shift);
  for (uint32_t i = 0; i < count; i++) {
    int32_t scaled = t2m_scale_twice(in[i] - op->input_zero, multiplier, shift);
    scaled = (int32_t)((uint32_t)scaled + (uint32_t)op->output_zero);
    out[i] = (int8_t)t2m_clamp(scaled, -128, 127);
  }
}

void t2m_dequantize_int8(float scale, int32_t zero, uint32_t count, const int8_t *in, float *out) {
  for (uint32_t i = 0; i < count; i++) out[i] = scale * (float)(in[i] - zero);
}
