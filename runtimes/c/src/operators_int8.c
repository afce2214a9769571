#include "arena.h"
#include "numbers.h"
#include "operators.h"
#include "rows.h"

/* The scaling of every output channel, from the scales in the file: computed anew at every run, since a table that
 * stays would cost more memory than the time is worth.
 */
static void fill_scaling(const t2m_operator *op, const uint8_t *file, t2m_scaling *scaling) {
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
    scaling[i].bias = op->bias ? (int32_t)t2m_load_u32(file + op->bias + 4u * i) : 0;
    t2m_quantize_multiplier(product / (double)op->output_scale, &scaling[i].multiplier, &scaling[i].shift);
  }
}

static int32_t lowest(const t2m_operator *op) { return op->relu ? op->output_zero : -128; }

void t2m_conv_int8(const t2m_kernel *kernel, const t2m_operator *op, const uint8_t *file, const int8_t *in, int8_t *out,
                   uint8_t *scratch) {
  t2m_scaling *scaling = (t2m_scaling *)(void *)scratch;
  t2m_product product;
  product.depth = op->kernel_height * op->kernel_width * op->in_channels;
  product.channels = op->out_channels;
  product.row_length = t2m_row_length(product.depth);
  product.rows = scratch + t2m_rows_offset(op);
  product.weights = (const int8_t *)(file + op->weight);
  product.scaling = scaling;
  product.zero = op->output_zero;
  product.low = lowest(op);
  product.high = 127;
  product.rounds_once = op->dense;
  fill_scaling(op, file, scaling);
  if (kernel->row_bytes == 1) {
    /* sum(w * (x - zero)) = sum(w * x) - zero * sum(w) */
    for (uint32_t i = 0; i < product.channels; i++) {
      int32_t sum = kernel->sum(product.weights + (size_t)i * product.depth, product.depth);
      scaling[i].bias = (int32_t)((uint32_t)scaling[i].bias - (uint32_t)(op->input_zero * sum));
    }
  }
  uint32_t pixels = op->out_height * op->out_width;
  for (uint32_t first = 0; first < pixels; first += T2M_TILE) {
    product.pixels = pixels - first < T2M_TILE ? pixels - first : T2M_TILE;
    product.out = out + (size_t)first * op->out_channels;
    t2m_fill_rows(kernel, op, in, first, product.pixels, scratch + t2m_rows_offset(op), product.row_length);
    kernel->product(&product);
  }
}

void t2m_depthwise_int8(const t2m_operator *op, const uint8_t *file, const int8_t *in, int8_t *out, uint8_t *scratch) {
  t2m_scaling *scaling = (t2m_scaling *)(void *)scratch;
  const int8_t *weights = (const int8_t *)(file + op->weight);
  uint32_t channels = op->out_channels;
  fill_scaling(op, file, scaling);
  for (uint32_t y = 0; y < op->out_height; y++) {
    for (uint32_t x = 0; x < op->out_width; x++) {
      for (uint32_t c = 0; c < channels; c++) {
        uint32_t sum = (uint32_t)scaling[c].bias;
        for (uint32_t ky = 0; ky < op->kernel_height; ky++) {
          uint32_t in_y = y * op->stride_height + ky - op->pad_top; /* wraps above the image: beyond it */
          if (in_y >= op->in_height) continue;
          for (uint32_t kx = 0; kx < op->kernel_width; kx++) {
            uint32_t in_x = x * op->stride_width + kx - op->pad_left;
            if (in_x >= op->in_width) continue;
            int32_t value = in[(in_y * op->in_width + in_x) * channels + c] - op->input_zero;
            sum += (uint32_t)(value * weights[(ky * op->kernel_width + kx) * channels + c]);
          }
        }
        int32_t scaled = t2m_scale_twice((int32_t)sum, scaling[c].multiplier, scaling[c].shift);
        scaled = (int32_t)((uint32_t)scaled + (uint32_t)op->output_zero);
        out[(y * op->out_width + x) * channels + c] = (int8_t)t2m_clamp(scaled, lowest(op), 127);
      }
    }
  }
}

/* Each of the 256 values of an input, times 2**20 and the ratio of its scale to twice the larger one. */
static void fill_addend(float scale, int32_t zero, double twice_larger, int32_t table[256]) {
  int32_t multiplier, shift;
  t2m_quantize_multiplier((double)scale / twice_larger, &multiplier, &shift);
  for (int32_t i = 0; i < 256; i++) table[i] = t2m_scale_twice((i - 128 - zero) * (1 << 20), multiplier, shift);
}

void t2m_add_int8(const t2m_operator *op, const int8_t *a, const int8_t *b, int8_t *out, uint8_t *scratch) {
  int32_t *first = (int32_t *)(void *)scratch, *second = first + 256;
  float larger = op->input_scale > op->other_scale ? op->input_scale : op->other_scale;
  double twice = 2.0 * (double)larger;
  int32_t multiplier, shift;
  fill_addend(op->input_scale, op->input_zero, twice, first);
  fill_addend(op->other_scale, op->other_zero, twice, second);
  t2m_quantize_multiplier(twice / (1048576.0 * (double)op->output_scale), &multiplier, &shift);
  uint32_t count = op->out_height * op->out_width * op->out_channels;
  int32_t low = lowest(op);
  for (uint32_t i = 0; i < count; i++) {
    int32_t sum = first[a[i] + 128] + second[b[i] + 128];
    int32_t scaled = t2m_scale_twice(sum, multiplier, shift);
    scaled = (int32_t)((uint32_t)scaled + (uint32_t)op->output_zero);
    out[i] = (int8_t)t2m_clamp(scaled, low, 127);
  }
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
    for (uint32_t i = 0; i < count; i++) out[i] = (int8_t)(in[i] ^ 0x80u);
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
