#include "graph.h"

#include "numbers.h"

/* Field numbers and codes of TensorFlow Lite's schema.fbs, version 3. */
enum { MODEL_VERSION, MODEL_CODES, MODEL_SUBGRAPHS, MODEL_DESCRIPTION, MODEL_BUFFERS };
enum { SUBGRAPH_TENSORS, SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS, SUBGRAPH_OPERATORS };
enum { OPERATOR_CODE, OPERATOR_INPUTS, OPERATOR_OUTPUTS, OPERATOR_OPTIONS_TYPE, OPERATOR_OPTIONS };
enum { TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_NAME, TENSOR_QUANTIZATION };
enum { QUANTIZATION_SCALE = 2, QUANTIZATION_ZERO_POINT = 3, QUANTIZATION_AXIS = 6 };
enum { CODE_DEPRECATED = 0, CODE_BUILTIN = 3 };
enum { FLOAT32 = 0, FLOAT16 = 1, INT32 = 2, UINT8 = 3, INT8 = 9 };
enum {
  ADD = 0,
  CONV_2D = 3,
  DEPTHWISE_CONV_2D = 4,
  DEQUANTIZE = 6,
  FULLY_CONNECTED = 9,
  L2_NORMALIZATION = 11,
  LOGISTIC = 14,
  SOFTMAX = 25,
  MEAN = 40,
  QUANTIZE = 114
};
enum { ACTIVATION_NONE = 0, ACTIVATION_RELU = 1 };

static const char FEATURES[] = "features";

typedef struct tensor {
  uint32_t type, rank;
  uint32_t dims[4];
  uint32_t count;      /* product of dims */
  uint32_t data, size; /* constant: its bytes in the file */
  uint32_t scales, scale_count;
  uint32_t axis;
  float scale; /* the first, 0 where there is none */
  int32_t zero;
} tensor;

static t2m_status broken_or(const t2m_graph *graph, t2m_status status) {
  return graph->reader.broken ? T2M_ERROR_BROKEN_MODEL : status;
}

/* Shape, type, constant data and quantisation of a tensor. */
static t2m_status read_tensor(t2m_graph *graph, uint32_t index, tensor *found) {
  t2m_reader *reader = &graph->reader;
  uint32_t table = t2m_vector_table(reader, graph->tensors, index);
  t2m_vector shape = t2m_field_vector(reader, table, TENSOR_SHAPE, 4);
  tensor none = {0};
  *found = none;
  found->type = (uint32_t)t2m_field_i8(reader, table, TENSOR_TYPE, FLOAT32);
  if (found->type == FLOAT16) return T2M_ERROR_PRECISION;
  found->rank = shape.count;
  if (reader->broken || shape.count < 1 || shape.count > 4) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
  found->count = 1;
  for (uint32_t i = 0; i < shape.count; i++) {
    uint32_t dim = t2m_read_u32(reader, shape.at + 4u * i);
    if (dim < 1 || dim > T2M_MAX_FILE / found->count) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
    found->dims[i] = dim;
    found->count *= dim;
  }
  uint32_t buffer = t2m_field_u32(reader, table, TENSOR_BUFFER, 0);
  if (buffer) {
    t2m_vector data = t2m_field_vector(reader, t2m_vector_table(reader, graph->buffers, buffer), 0, 1);
    found->data = data.at;
    found->size = data.count;
  }
  uint32_t quantization = t2m_field_table(reader, table, TENSOR_QUANTIZATION);
  if (quantization) {
    t2m_vector scales = t2m_field_vector(reader, quantization, QUANTIZATION_SCALE, 4);
    t2m_vector zeros = t2m_field_vector(reader, quantization, QUANTIZATION_ZERO_POINT, 8);
    found->axis = t2m_field_u32(reader, quantization, QUANTIZATION_AXIS, 0);
    if (scales.count != zeros.count) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
    found->scales = scales.at;
    found->scale_count = scales.count;
    if (scales.count) {
      found->scale = t2m_load_f32(reader->file.data + scales.at);
      found->zero = (int32_t)t2m_read_u32(reader, zeros.at);
      /* The upper half of the int64. */
      if (t2m_read_u32(reader, zeros.at + 4u) != (found->zero < 0 ? 0xFFFFFFFFu : 0u)) return T2M_ERROR_UNSUPPORTED;
    }
  }
  return broken_or(graph, T2M_OK);
}

/* An activation: float, or int8 with one scale. As height x width x channels, one image. */
static t2m_status read_activation(t2m_graph *graph, uint32_t index, uint32_t type, tensor *found, uint32_t shape[3]) {
  t2m_status status = read_tensor(graph, index, found);
  if (status) return status;
  if (found->type != type || found->dims[0] != 1 || found->data) return T2M_ERROR_UNSUPPORTED;
  if (type != FLOAT32) {
    int32_t low = type == INT8 ? -128 : 0;
    if (found->scale_count != 1 || !t2m_scale_is_sound(found->scale)) return T2M_ERROR_UNSUPPORTED;
    if (found->zero < low || found->zero > low + 255) return T2M_ERROR_UNSUPPORTED;
  }
  if (found->rank != 2 && found->rank != 4) return T2M_ERROR_UNSUPPORTED;
  shape[0] = found->rank == 4 ? found->dims[1] : 1;
  shape[1] = found->rank == 4 ? found->dims[2] : 1;
  shape[2] = found->dims[found->rank - 1];
  bool fits = shape[0] <= T2M_MAX_SIDE && shape[1] <= T2M_MAX_SIDE && shape[2] <= T2M_MAX_CHANNELS;
  return fits ? T2M_OK : T2M_ERROR_UNSUPPORTED;
}

/* A field of the operator's options, or the default where it has no options. */
static uint32_t option(t2m_graph *graph, uint32_t options, uint32_t slot, uint32_t size, uint32_t otherwise) {
  if (!options) return otherwise;
  if (size == 1) return (uint32_t)t2m_field_i8(&graph->reader, options, slot, (int32_t)otherwise);
  return t2m_field_u32(&graph->reader, options, slot, otherwise);
}

/* Weights and bias; `axis` is that of the output channels. */
static t2m_status read_weights(t2m_graph *graph, t2m_vector inputs, uint32_t axis, tensor *weight, t2m_operator *op) {
  t2m_reader *reader = &graph->reader;
  tensor bias = {0};
  if (inputs.count != 3) return T2M_ERROR_UNSUPPORTED;
  t2m_status status = read_tensor(graph, t2m_read_u32(reader, inputs.at + 4u), weight);
  if (!status) status = read_tensor(graph, t2m_read_u32(reader, inputs.at + 8u), &bias);
  if (status) return status;
  uint32_t item = op->is_int8 ? 1u : 4u;
  if (!op->is_int8 && weight->type == INT8) return T2M_ERROR_PRECISION;
  if (weight->type != (op->is_int8 ? (uint32_t)INT8 : (uint32_t)FLOAT32)) return T2M_ERROR_UNSUPPORTED;
  if (bias.type != (op->is_int8 ? (uint32_t)INT32 : (uint32_t)FLOAT32)) return T2M_ERROR_UNSUPPORTED;
  if (weight->dims[axis] != op->out_channels || bias.count != op->out_channels) return T2M_ERROR_UNSUPPORTED;
  if (weight->size != weight->count * item || bias.size != bias.count * 4u) return T2M_ERROR_BROKEN_MODEL;
  if (weight->data % item || bias.data % 4u) return T2M_ERROR_BROKEN_MODEL;
  if (op->is_int8) {
    bool whole = weight->scale_count == op->out_channels && (weight->axis == axis || weight->scale_count == 1);
    if (!whole && weight->scale_count != 1) return T2M_ERROR_UNSUPPORTED;
    for (uint32_t i = 0; i < weight->scale_count; i++) {
      float scale = t2m_load_f32(reader->file.data + weight->scales + 4u * i);
      if (scale != 0 && !t2m_scale_is_sound(scale)) return T2M_ERROR_UNSUPPORTED;
    }
  }
  op->weight = weight->data;
  op->bias = bias.data;
  op->weight_scale = weight->scales;
  op->weight_scales = weight->scale_count;
  return broken_or(graph, T2M_OK);
}

/* SAME padding: half of what is missing before, the odd one after. */
static uint32_t pad_before(uint32_t in, uint32_t out, uint32_t kernel, uint32_t stride) {
  uint32_t needed = (out - 1u) * stride + kernel;
  return needed > in ? (needed - in) / 2u : 0u;
}

static t2m_status read_window(t2m_graph *graph, uint32_t options, const tensor *weight, t2m_operator *op) {
  op->kernel_height = weight->dims[1];
  op->kernel_width = weight->dims[2];
  op->stride_width = option(graph, options, 1, 4, 0);
  op->stride_height = option(graph, options, 2, 4, 0);
  if (option(graph, options, 0, 1, 0) != 0 || weight->rank != 4) return T2M_ERROR_UNSUPPORTED;
  if (op->stride_width < 1 || op->stride_width > 16 || op->stride_height < 1 || op->stride_height > 16)
    return T2M_ERROR_UNSUPPORTED;
  if (op->kernel_height > 64 || op->kernel_width > 64) return T2M_ERROR_UNSUPPORTED;
  if (op->out_height != (op->in_height + op->stride_height - 1u) / op->stride_height) return T2M_ERROR_UNSUPPORTED;
  if (op->out_width != (op->in_width + op->stride_width - 1u) / op->stride_width) return T2M_ERROR_UNSUPPORTED;
  op->pad_top = pad_before(op->in_height, op->out_height, op->kernel_height, op->stride_height);
  op->pad_left = pad_before(op->in_width, op->out_width, op->kernel_width, op->stride_width);
  return T2M_OK;
}

static t2m_status read_conv(t2m_graph *graph, uint32_t options, t2m_vector inputs, t2m_operator *op) {
  tensor weight;
  t2m_status status = read_weights(graph, inputs, 0, &weight, op);
  if (!status) status = read_window(graph, options, &weight, op);
  if (status) return status;
  bool dilated = option(graph, options, 4, 4, 1) != 1 || option(graph, options, 5, 4, 1) != 1;
  if (dilated || weight.dims[3] != op->in_channels) return T2M_ERROR_UNSUPPORTED;
  return weight.count / op->out_channels <= T2M_MAX_DEPTH ? T2M_OK : T2M_ERROR_UNSUPPORTED;
}

static t2m_status read_depthwise(t2m_graph *graph, uint32_t options, t2m_vector inputs, t2m_operator *op) {
  tensor weight;
  t2m_status status = read_weights(graph, inputs, 3, &weight, op);
  if (!status) status = read_window(graph, options, &weight, op);
  if (status) return status;
  bool dilated = option(graph, options, 5, 4, 1) != 1 || option(graph, options, 6, 4, 1) != 1;
  bool one_filter = option(graph, options, 3, 4, 0) == 1 && op->in_channels == op->out_channels;
  return dilated || !one_filter || weight.dims[0] != 1 ? T2M_ERROR_UNSUPPORTED : T2M_OK;
}

static t2m_status read_dense(t2m_graph *graph, t2m_vector inputs, t2m_operator *op) {
  tensor weight;
  t2m_status status = read_weights(graph, inputs, 0, &weight, op);
  if (status) return status;
  op->kernel_height = op->kernel_width = op->stride_height = op->stride_width = 1;
  bool vector = op->in_height * op->in_width == 1 && op->out_height * op->out_width == 1;
  return vector && weight.rank == 2 && weight.dims[1] == op->in_channels ? T2M_OK : T2M_ERROR_UNSUPPORTED;
}

static t2m_status read_mean(t2m_graph *graph, t2m_vector inputs, const t2m_operator *op) {
  tensor axes;
  if (inputs.count != 2) return T2M_ERROR_UNSUPPORTED;
  t2m_status status = read_tensor(graph, t2m_read_u32(&graph->reader, inputs.at + 4u), &axes);
  if (status) return status;
  if (axes.type != INT32 || axes.count != 2 || axes.size != 8) return T2M_ERROR_UNSUPPORTED;
  uint32_t a = t2m_read_u32(&graph->reader, axes.data), b = t2m_read_u32(&graph->reader, axes.data + 4u);
  bool planar = (a == 1 && b == 2) || (a == 2 && b == 1);
  bool fits = op->out_height * op->out_width == 1 && op->in_channels == op->out_channels;
  /* So that int32 sums of 255 a pixel cannot overflow. */
  fits = fits && op->in_height * op->in_width <= 1u << 22;
  return planar && fits ? T2M_OK : T2M_ERROR_UNSUPPORTED;
}

/* Which BuiltinOperator an operator is. */
static uint32_t builtin_code(t2m_graph *graph, uint32_t table) {
  uint32_t index = t2m_field_u32(&graph->reader, table, OPERATOR_CODE, 0);
  uint32_t code = t2m_vector_table(&graph->reader, graph->codes, index);
  uint32_t builtin = t2m_field_u32(&graph->reader, code, CODE_BUILTIN, 0);
  uint32_t deprecated = (uint32_t)t2m_field_i8(&graph->reader, code, CODE_DEPRECATED, 0);
  return builtin > deprecated ? builtin : deprecated;
}

t2m_status t2m_graph_operator(t2m_graph *graph, uint32_t index, t2m_operator *op) {
  t2m_reader *reader = &graph->reader;
  uint32_t table = t2m_vector_table(reader, graph->operators, index);
  t2m_vector inputs = t2m_field_vector(reader, table, OPERATOR_INPUTS, 4);
  t2m_vector outputs = t2m_field_vector(reader, table, OPERATOR_OUTPUTS, 4);
  uint32_t code = builtin_code(graph, table);
  uint32_t options = t2m_field_table(reader, table, OPERATOR_OPTIONS);
  if (reader->broken || inputs.count < 1 || inputs.count > 3 || outputs.count != 1)
    return broken_or(graph, T2M_ERROR_UNSUPPORTED);

  t2m_operator none = {0};
  *op = none;
  op->is_int8 = graph->is_int8 != 0;
  op->input = op->other = t2m_read_u32(reader, inputs.at);
  op->output = t2m_read_u32(reader, outputs.at);
  uint32_t type = graph->is_int8 ? (uint32_t)INT8 : (uint32_t)FLOAT32;
  bool converts = code == QUANTIZE || code == DEQUANTIZE;
  tensor input, output;
  uint32_t in[3], out[3];
  t2m_status status = read_activation(graph, op->input, converts ? (uint32_t)UINT8 : type, &input, in);
  if (!status) status = read_activation(graph, op->output, type, &output, out);
  if (status) return status;
  op->in_height = in[0], op->in_width = in[1], op->in_channels = in[2];
  op->out_height = out[0], op->out_width = out[1], op->out_channels = out[2];
  op->input_scale = op->other_scale = input.scale;
  op->input_zero = op->other_zero = input.zero;
  op->output_scale = output.scale;
  op->output_zero = output.zero;
  bool same = in[0] == out[0] && in[1] == out[1] && in[2] == out[2];
  uint32_t activation_slot = code == CONV_2D ? 3u : code == DEPTHWISE_CONV_2D ? 4u : 0u;
  if (code == CONV_2D || code == DEPTHWISE_CONV_2D || code == FULLY_CONNECTED || code == ADD || code == L2_NORMALIZATION) {
    uint32_t activation = option(graph, options, activation_slot, 1, ACTIVATION_NONE);
    if (activation != ACTIVATION_NONE && activation != ACTIVATION_RELU) return T2M_ERROR_UNSUPPORTED;
    op->relu = activation == ACTIVATION_RELU;
  }

  switch (code) {
    case CONV_2D:
      op->kind = T2M_CONV;
      status = read_conv(graph, options, inputs, op);
      break;
    case DEPTHWISE_CONV_2D:
      op->kind = T2M_DEPTHWISE;
      status = read_depthwise(graph, options, inputs, op);
      break;
    case FULLY_CONNECTED:
      op->kind = T2M_CONV;
      op->dense = 1;
      status = read_dense(graph, inputs, op);
      break;
    case MEAN:
      op->kind = T2M_MEAN;
      status = read_mean(graph, inputs, op);
      break;
    case ADD: {
      tensor other;
      uint32_t shape[3];
      op->kind = T2M_ADD;
      if (inputs.count != 2) return T2M_ERROR_UNSUPPORTED;
      op->other = t2m_read_u32(reader, inputs.at + 4u);
      status = read_activation(graph, op->other, type, &other, shape);
      op->other_scale = other.scale;
      op->other_zero = other.zero;
      if (!status && !(same && in[0] == shape[0] && in[1] == shape[1] && in[2] == shape[2]))
        status = T2M_ERROR_UNSUPPORTED;
      break;
    }
    case L2_NORMALIZATION:
      op->kind = T2M_UNIT;
      /* The kernel's output is fixed to steps of 1/128 (TFLite's specification of the int8 operator). */
      if (!same || in[0] * in[1] != 1 || op->relu) status = T2M_ERROR_UNSUPPORTED;
      if (op->is_int8 && (op->output_scale != 1.0f / 128.0f || op->output_zero != 0)) status = T2M_ERROR_UNSUPPORTED;
      break;
    case QUANTIZE:
      op->kind = T2M_QUANTIZE;
      if (!same || !op->is_int8) status = T2M_ERROR_UNSUPPORTED;
      break;
    case DEQUANTIZE:
      op->kind = T2M_DEQUANTIZE;
      if (!same || op->is_int8) status = T2M_ERROR_UNSUPPORTED;
      break;
    default:
      status = T2M_ERROR_UNSUPPORTED;
  }
  return broken_or(graph, status);
}

static bool is_named_features(t2m_graph *graph, uint32_t index) {
  t2m_reader *reader = &graph->reader;
  t2m_vector name = t2m_field_vector(reader, t2m_vector_table(reader, graph->tensors, index), TENSOR_NAME, 1);
  if (reader->broken || name.count != sizeof FEATURES - 1u) return false;
  for (uint32_t i = 0; i < name.count; i++)
    if (reader->file.data[name.at + i] != (uint8_t)FEATURES[i]) return false;
  return true;
}

/* The operator that gives the tensor named "features"; what follows is the head. */
static t2m_status find_features(t2m_graph *graph) {
  t2m_reader *reader = &graph->reader;
  for (uint32_t i = 0; i < graph->operators.count; i++) {
    uint32_t table = t2m_vector_table(reader, graph->operators, i);
    t2m_vector outputs = t2m_field_vector(reader, table, OPERATOR_OUTPUTS, 4);
    if (reader->broken || outputs.count != 1) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
    uint32_t index = t2m_read_u32(reader, outputs.at);
    if (!is_named_features(graph, index)) continue;
    tensor features;
    t2m_status status = read_tensor(graph, index, &features);
    if (status) return status;
    if (features.rank != 2 || features.dims[0] != 1 || features.count > T2M_MAX_CHANNELS) return T2M_ERROR_UNSUPPORTED;
    if (features.type != INT8 && features.type != FLOAT32) return T2M_ERROR_UNSUPPORTED;
    graph->is_int8 = features.type == INT8;
    graph->features = index;
    graph->feature_count = features.count;
    graph->backbone_operators = i + 1u;
    return T2M_OK;
  }
  return broken_or(graph, T2M_ERROR_UNSUPPORTED);
}

t2m_status t2m_graph_open(t2m_graph *graph, t2m_bytes file) {
  t2m_graph none = {0};
  *graph = none;
  t2m_reader *reader = &graph->reader;
  reader->file = file;
  if (file.size < 8 || t2m_load_u32(file.data + 4) != 0x334C4654u) return T2M_ERROR_NOT_A_MODEL; /* "TFL3" */
  uint32_t root = t2m_load_u32(file.data);
  if (t2m_field_u32(reader, root, MODEL_VERSION, 0) != 3) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
  t2m_vector subgraphs = t2m_field_vector(reader, root, MODEL_SUBGRAPHS, 4);
  graph->codes = t2m_field_vector(reader, root, MODEL_CODES, 4);
  graph->buffers = t2m_field_vector(reader, root, MODEL_BUFFERS, 4);
  if (reader->broken || subgraphs.count != 1) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
  uint32_t subgraph = t2m_vector_table(reader, subgraphs, 0);
  graph->tensors = t2m_field_vector(reader, subgraph, SUBGRAPH_TENSORS, 4);
  graph->operators = t2m_field_vector(reader, subgraph, SUBGRAPH_OPERATORS, 4);
  t2m_vector inputs = t2m_field_vector(reader, subgraph, SUBGRAPH_INPUTS, 4);
  t2m_vector outputs = t2m_field_vector(reader, subgraph, SUBGRAPH_OUTPUTS, 4);
  if (reader->broken || inputs.count != 1 || outputs.count != 1) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
  if (graph->operators.count > T2M_MAX_OPERATORS) return T2M_ERROR_UNSUPPORTED;
  graph->input = t2m_read_u32(reader, inputs.at);

  tensor image;
  uint32_t shape[3];
  t2m_status status = read_activation(graph, graph->input, UINT8, &image, shape);
  if (status) return status;
  if (image.rank != 4 || shape[2] != 3) return T2M_ERROR_UNSUPPORTED;
  graph->height = shape[0];
  graph->width = shape[1];
  return find_features(graph);
}

t2m_status t2m_graph_head(t2m_graph *graph, t2m_operator layer[2], uint32_t *layer_count,
                          t2m_scoring *scoring) {
  t2m_reader *reader = &graph->reader;
  uint32_t tensor_number = graph->features;
  bool dequantized = graph->is_int8 == 0, ended = false;
  *layer_count = 0;
  *scoring = T2M_LOGITS;
  for (uint32_t i = graph->backbone_operators; i < graph->operators.count; i++) {
    uint32_t table = t2m_vector_table(reader, graph->operators, i);
    t2m_vector inputs = t2m_field_vector(reader, table, OPERATOR_INPUTS, 4);
    t2m_vector outputs = t2m_field_vector(reader, table, OPERATOR_OUTPUTS, 4);
    uint32_t code = builtin_code(graph, table);
    if (reader->broken || inputs.count < 1 || outputs.count != 1) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
    /* A chain: each reads what the one before gave. */
    if (t2m_read_u32(reader, inputs.at) != tensor_number || ended) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
    tensor_number = t2m_read_u32(reader, outputs.at);
    if (code == FULLY_CONNECTED && *layer_count < 2 && *scoring == T2M_LOGITS && (!dequantized || !graph->is_int8)) {
      t2m_status status = t2m_graph_operator(graph, i, &layer[*layer_count]);
      if (status) return status;
      ++*layer_count;
    } else if (code == DEQUANTIZE && !dequantized && *scoring == T2M_LOGITS && *layer_count > 0) {
      dequantized = true;
    } else if (code == QUANTIZE && *layer_count > 0) {
      ended = true;
    } else if (code == LOGISTIC && *scoring == T2M_LOGITS && *layer_count > 0) {
      *scoring = T2M_SIGMOID;
    } else if (code == SOFTMAX && *scoring == T2M_LOGITS && *layer_count > 0) {
      uint32_t options = t2m_field_table(reader, table, OPERATOR_OPTIONS);
      uint32_t beta = options ? t2m_field(reader, options, 0, 4) : 0;
      if (!beta || t2m_load_f32(reader->file.data + beta) != 1.0f) return broken_or(graph, T2M_ERROR_UNSUPPORTED);
      *scoring = T2M_SOFTMAX;
    } else {
      return broken_or(graph, T2M_ERROR_UNSUPPORTED);
    }
  }
  if (*layer_count && layer[*layer_count - 1u].out_channels > T2M_MAX_LABELS) return T2M_ERROR_UNSUPPORTED;
  return broken_or(graph, T2M_OK);
}
