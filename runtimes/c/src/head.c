#include "head.h"

#include "manifest.h"
#include "numbers.h"

enum { WEIGHT, SCALE, BIAS, PARTS };

/* One tensor of the file: where it lies, its type ('b' int8, 'i' int32, 'f' float) and shape. */
typedef struct head_tensor {
  uint32_t begin, end;
  char type;
  uint32_t rank, dims[2];
} head_tensor;

typedef struct head_parts {
  head_tensor tensors[2][PARTS];
  float output_scale[2], input_scale;
  int32_t output_zero[2], input_zero;
  uint32_t manifest_begin, manifest_end;
} head_parts;

/* "layer0.weight" and the like; NULL for other names. */
static head_tensor *part_named(head_parts *parts, const char *name) {
  static const char prefix[] = "layer";
  for (uint32_t i = 0; i < sizeof prefix - 1u; i++)
    if (name[i] != prefix[i]) return NULL;
  uint32_t layer = (uint32_t)(unsigned char)name[5] - '0';
  if (layer > 1 || name[6] != '.') return NULL;
  if (t2m_text_is(name + 7, "weight")) return &parts->tensors[layer][WEIGHT];
  if (t2m_text_is(name + 7, "scale")) return &parts->tensors[layer][SCALE];
  return t2m_text_is(name + 7, "bias") ? &parts->tensors[layer][BIAS] : NULL;
}

static void read_entry(t2m_json *json, uint32_t body, uint32_t body_size, head_tensor *found) {
  char key[16], type[8];
  t2m_json_take(json, '{');
  for (bool first = true; t2m_json_next(json, &first, '}');) {
    t2m_json_string(json, key, sizeof key);
    t2m_json_take(json, ':');
    if (t2m_text_is(key, "dtype")) {
      t2m_json_string(json, type, sizeof type);
      found->type = t2m_text_is(type, "I8") ? 'b' : t2m_text_is(type, "I32") ? 'i' : t2m_text_is(type, "F32") ? 'f' : 0;
    } else if (t2m_text_is(key, "shape")) {
      t2m_json_take(json, '[');
      found->rank = 0;
      for (bool first_item = true; t2m_json_next(json, &first_item, ']');) {
        uint32_t dim = t2m_json_whole(json, T2M_MAX_CHANNELS);
        if (found->rank == 2 || dim == 0) json->broken = true;
        if (!json->broken) found->dims[found->rank++] = dim;
      }
    } else if (t2m_text_is(key, "data_offsets")) {
      t2m_json_take(json, '[');
      found->begin = body + t2m_json_whole(json, body_size);
      t2m_json_take(json, ',');
      found->end = body + t2m_json_whole(json, body_size);
      t2m_json_take(json, ']');
    } else {
      json->broken = true;
    }
  }
  uint32_t item = found->type == 'b' ? 1u : 4u;
  uint32_t count = found->rank == 2 ? found->dims[0] * found->dims[1] : found->dims[0];
  if (!found->type || !found->rank || found->end < found->begin || found->end - found->begin != count * item)
    json->broken = true;
}

/* A number that stands as the whole of a string. */
static double number_in_string(t2m_bytes file, t2m_json *json) {
  t2m_json_peek(json);
  uint32_t begin = json->at + 1u, length = t2m_json_string(json, NULL, 0);
  if (json->broken || length == 0 || length > 40) {
    json->broken = true;
    return 0;
  }
  t2m_json inside = t2m_json_at(file, begin, begin + length, 0);
  double value = t2m_json_number(&inside);
  if (inside.broken || inside.at != begin + length) json->broken = true;
  return value;
}

static float scale_in_string(t2m_bytes file, t2m_json *json) {
  double value = number_in_string(file, json);
  if (!(value >= 1e-30 && value <= 1e30)) json->broken = true;
  return json->broken ? 1.0f : (float)value;
}

static int32_t zero_in_string(t2m_bytes file, t2m_json *json) {
  double value = number_in_string(file, json);
  if (!(value >= -128 && value <= 127) || value != (double)(int32_t)value) json->broken = true;
  return json->broken ? 0 : (int32_t)value;
}

static void read_metadata(t2m_bytes file, t2m_json *json, head_parts *parts) {
  char key[32];
  t2m_json_take(json, '{');
  for (bool first = true; t2m_json_next(json, &first, '}');) {
    t2m_json_string(json, key, sizeof key);
    t2m_json_take(json, ':');
    if (t2m_text_is(key, "t2m_manifest")) {
      t2m_json_peek(json);
      parts->manifest_begin = json->at + 1u;
      t2m_json_string(json, NULL, 0);
      parts->manifest_end = json->at - 1u;
    } else if (t2m_text_is(key, "input_scale")) {
      parts->input_scale = scale_in_string(file, json);
    } else if (t2m_text_is(key, "input_zero_point")) {
      parts->input_zero = zero_in_string(file, json);
    } else if (t2m_text_is(key, "layer0.output_scale")) {
      parts->output_scale[0] = scale_in_string(file, json);
    } else if (t2m_text_is(key, "layer0.output_zero_point")) {
      parts->output_zero[0] = zero_in_string(file, json);
    } else if (t2m_text_is(key, "layer1.output_scale")) {
      parts->output_scale[1] = scale_in_string(file, json);
    } else if (t2m_text_is(key, "layer1.output_zero_point")) {
      parts->output_zero[1] = zero_in_string(file, json);
    } else {
      t2m_json_string(json, NULL, 0);
    }
  }
}

/* The header of the file: metadata and tensors, which must fill the file without gap or overlap. */
static bool read_header(t2m_bytes file, head_parts *parts) {
  uint32_t header = t2m_load_u32(file.data), body = header + 8u, covered = 0;
  t2m_json json = t2m_json_at(file, 8, body, 0);
  t2m_json_take(&json, '{');
  for (bool first = true; t2m_json_next(&json, &first, '}');) {
    char key[24];
    t2m_json_string(&json, key, sizeof key);
    t2m_json_take(&json, ':');
    if (t2m_text_is(key, "__metadata__")) {
      read_metadata(file, &json, parts);
      continue;
    }
    head_tensor *part = part_named(parts, key);
    if (!part || part->rank) return false;
    read_entry(&json, body, file.size - body, part);
    if (json.broken) return false;
    for (uint32_t i = 0; i < 2u * PARTS; i++) {
      const head_tensor *other = &parts->tensors[i / PARTS][i % PARTS];
      if (other != part && other->rank && part->begin < other->end && other->begin < part->end) return false;
    }
    covered += part->end - part->begin;
  }
  return !json.broken && t2m_json_peek(&json) == 0 && covered == file.size - body;
}

static bool is_vector(const head_tensor *found, char type, uint32_t count) {
  return found->rank == 1 && found->type == type && found->dims[0] == count && found->begin % 4u == 0;
}

/* One layer as an operator; width: values that it reads. */
static bool make_layer(t2m_bytes file, const head_parts *parts, uint32_t index, bool is_int8, t2m_operator *op) {
  const head_tensor *weight = &parts->tensors[index][WEIGHT], *scale = &parts->tensors[index][SCALE];
  const head_tensor *bias = &parts->tensors[index][BIAS];
  t2m_operator layer = {0};
  layer.kind = T2M_CONV;
  layer.dense = 1;
  layer.is_int8 = is_int8;
  layer.in_height = layer.in_width = layer.out_height = layer.out_width = 1;
  layer.kernel_height = layer.kernel_width = layer.stride_height = layer.stride_width = 1;
  if (weight->rank != 2 || weight->type != (is_int8 ? 'b' : 'f')) return false;
  if (!is_int8 && weight->begin % 4u) return false;
  layer.out_channels = weight->dims[0];
  layer.in_channels = weight->dims[1];
  layer.weight = weight->begin;
  if (!is_vector(bias, is_int8 ? 'i' : 'f', layer.out_channels)) return false;
  layer.bias = bias->begin;
  if (is_int8) {
    if (!is_vector(scale, 'f', layer.out_channels) || parts->output_scale[index] == 0) return false;
    for (uint32_t i = 0; i < layer.out_channels; i++) {
      float value = t2m_load_f32(file.data + scale->begin + 4u * i);
      if (value != 0 && !t2m_scale_is_sound(value)) return false;
    }
    layer.weight_scale = scale->begin;
    layer.weight_scales = layer.out_channels;
    layer.output_scale = parts->output_scale[index];
    layer.output_zero = parts->output_zero[index];
  } else if (scale->rank) {
    return false;
  }
  *op = layer;
  return true;
}

t2m_status t2m_read_head(t2m_bytes file, t2m_head *head, float *input_scale, int32_t *input_zero) {
  head_parts parts = {0};
  if (file.size < 16 || t2m_load_u32(file.data + 4) != 0) return T2M_ERROR_BROKEN_HEAD;
  if (t2m_load_u32(file.data) > file.size - 8u || !read_header(file, &parts)) return T2M_ERROR_BROKEN_HEAD;
  if (!parts.manifest_begin) return T2M_ERROR_NO_MANIFEST;
  t2m_head found = {0};
  found.file = file;
  t2m_status status = t2m_read_manifest(file, parts.manifest_begin, parts.manifest_end, 1, &found.facts);
  if (status) return status;
  bool is_int8 = parts.tensors[0][SCALE].rank != 0, hidden = parts.tensors[1][WEIGHT].rank != 0;
  if (is_int8 && parts.input_scale == 0) return T2M_ERROR_BROKEN_HEAD;
  if (!hidden && (parts.tensors[1][SCALE].rank || parts.tensors[1][BIAS].rank)) return T2M_ERROR_BROKEN_HEAD;
  found.layer_count = hidden ? 2u : 1u;
  for (uint32_t i = 0; i < found.layer_count; i++)
    if (!make_layer(file, &parts, i, is_int8, &found.layer[i])) return T2M_ERROR_BROKEN_HEAD;
  t2m_operator *first = &found.layer[0], *last = &found.layer[found.layer_count - 1u];
  first->input_scale = parts.input_scale;
  first->input_zero = parts.input_zero;
  if (hidden) {
    first->relu = 1;
    last->input_scale = first->output_scale;
    last->input_zero = first->output_zero;
    if (last->in_channels != first->out_channels) return T2M_ERROR_BROKEN_HEAD;
  }
  if (last->out_channels != found.facts.label_count) return T2M_ERROR_BROKEN_HEAD;
  *head = found;
  *input_scale = parts.input_scale;
  *input_zero = parts.input_zero;
  return T2M_OK;
}
