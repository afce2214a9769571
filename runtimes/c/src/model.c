#include "arena.h"
#include "head.h"
#include "kernels.h"
#include "manifest.h"
#include "numbers.h"
#include "operators.h"

T2M_ONCE const char *t2m_status_text(t2m_status status) {
  switch (status) {
    case T2M_OK:
      return "done";
    case T2M_ERROR_ARGUMENT:
      return "a pointer is NULL or a number is out of its range";
    case T2M_ERROR_ALIGNMENT:
      return "the file or the arena does not start at a multiple of 16 bytes; align it";
    case T2M_ERROR_NOT_A_MODEL:
      return "not a .tflite file; give one that t2m-edge compile wrote";
    case T2M_ERROR_BROKEN_MODEL:
      return "the model is damaged or cut short; compile it again";
    case T2M_ERROR_UNSUPPORTED:
      return "the model has operators, shapes or types that t2m-edge does not write; compile it with t2m-edge";
    case T2M_ERROR_NO_MANIFEST:
      return "the file carries no t2m-edge manifest: not made by t2m-edge, or its end is cut off";
    case T2M_ERROR_BROKEN_MANIFEST:
      return "the manifest is damaged or does not fit the model; compile it again";
    case T2M_ERROR_NEWER:
      return "made by a later t2m-edge; update this runtime";
    case T2M_ERROR_ARENA_TOO_SMALL:
      return "the arena is too small; give as many bytes as t2m_arena_size says";
    case T2M_ERROR_BROKEN_HEAD:
      return "not a head file, or damaged or cut short; compile it again";
    case T2M_ERROR_HEAD_MISMATCH:
      return "the head was made for another backbone or precision; compile it for this model";
    case T2M_ERROR_HEAD_TOO_LARGE:
      return "the head has more labels or a wider hidden layer than the arena has room for; raise t2m_room";
    case T2M_ERROR_NO_HEAD:
      return "the model is a backbone without a head; swap a head in first";
    case T2M_ERROR_FRAME:
      return "the frame's planes are smaller than its size, stride and format claim";
    case T2M_ERROR_FRAME_TOO_LARGE:
      return "the frame is larger than the arena has room for; raise t2m_room.frame_side";
    case T2M_ERROR_NOT_RUN:
      return "there are no scores yet; call t2m_run first";
    case T2M_ERROR_NOT_FINITE:
      return "the model gave scores that are not finite numbers; compile it again";
    case T2M_ERROR_PRECISION:
      return "the model is fp16 or int8-dynamic, and the core runs int8 and fp32; compile it with one of those";
    case T2M_ERROR_ENGINE:
      return "the engine failed; its message says more";
    case T2M_STATUS_COUNT:
      break;
  }
  return "unknown status";
}

static bool is_aligned(const void *pointer) { return ((uintptr_t)pointer & (T2M_ALIGNMENT - 1u)) == 0; }

/* Checks a caller's bytes and opens their graph. */
static t2m_status open_graph(t2m_graph *graph, const void *data, size_t size) {
  if (!data) return T2M_ERROR_ARGUMENT;
  if (!is_aligned(data)) return T2M_ERROR_ALIGNMENT;
  if (size > T2M_MAX_FILE) return T2M_ERROR_UNSUPPORTED;
  t2m_bytes file = {(const uint8_t *)data, (uint32_t)size};
  return t2m_graph_open(graph, file);
}

T2M_ONCE t2m_status t2m_arena_size(const void *data, size_t size, const t2m_room *room, size_t *bytes) {
  t2m_graph graph;
  t2m_layout layout;
  if (!bytes) return T2M_ERROR_ARGUMENT;
  t2m_status status = open_graph(&graph, data, size);
  if (!status) status = t2m_plan(&graph, room, &layout);
  if (!status) *bytes = layout.size;
  return status;
}

/* The head that the model file itself carries; layer_count 0 where it is a backbone alone. */
static t2m_status own_head(t2m_graph *graph, const t2m_facts *facts, t2m_head *head) {
  t2m_head found = {0};
  t2m_scoring scoring;
  found.file = graph->reader.file;
  t2m_status status = t2m_graph_head(graph, found.layer, &found.layer_count, &scoring);
  if (status) return status;
  found.facts = *facts;
  if (found.layer_count) {
    bool fits = found.layer[0].in_channels == graph->feature_count && facts->scores == (uint32_t)scoring;
    if (!fits || found.layer[found.layer_count - 1u].out_channels != facts->label_count)
      return T2M_ERROR_BROKEN_MANIFEST;
  }
  *head = found;
  return T2M_OK;
}

/* The manifest of a model file. A pack's backbone has none: then the facts are those of its graph. */
static t2m_status model_facts(t2m_graph *graph, t2m_facts *facts) {
  uint32_t begin, end;
  t2m_facts none = {0};
  *facts = none;
  facts->height = graph->height;
  facts->width = graph->width;
  t2m_status status = t2m_find_manifest(graph->reader.file, &begin, &end);
  if (status == T2M_ERROR_NO_MANIFEST && graph->backbone_operators == graph->operators.count) return T2M_OK;
  if (!status) status = t2m_read_manifest(graph->reader.file, begin, end, 0, facts);
  if (status) return status;
  bool fits = facts->height == graph->height && facts->width == graph->width;
  return fits ? T2M_OK : T2M_ERROR_BROKEN_MANIFEST;
}

T2M_ONCE t2m_status t2m_open(t2m_model **model, const void *data, size_t size, const t2m_room *room, void *arena,
                    size_t arena_size) {
  t2m_graph graph;
  t2m_layout layout;
  t2m_facts facts;
  t2m_head head;
  if (!model || !arena) return T2M_ERROR_ARGUMENT;
  if (!is_aligned(arena)) return T2M_ERROR_ALIGNMENT;
  t2m_status status = open_graph(&graph, data, size);
  if (!status) status = t2m_plan(&graph, room, &layout);
  if (!status && arena_size < layout.size) status = T2M_ERROR_ARENA_TOO_SMALL;
  if (!status) status = model_facts(&graph, &facts);
  if (!status) status = own_head(&graph, &facts, &head);
  if (status) return status;
  const t2m_engine no_engine = {NULL, NULL, NULL};
  t2m_model *opened = (t2m_model *)arena;
  opened->file = graph.reader.file;
  opened->arena = (uint8_t *)arena;
  opened->kernel = t2m_find_kernel(NULL);
  opened->engine = no_engine;
  opened->facts = facts;
  opened->head = head;
  opened->layout = layout;
  opened->is_int8 = graph.is_int8;
  opened->ran = 0;
  status = t2m_write_operators(&graph, &layout, (t2m_operator *)(void *)(opened->arena + layout.operators));
  if (!status) *model = opened;
  return status;
}

/* The scale and zero point of the features that the backbone gives. */
static const t2m_operator *last_operator(const t2m_model *model) {
  return &t2m_operators(model)[model->layout.operator_count - 1u];
}

T2M_ONCE t2m_status t2m_swap_head(t2m_model *model, const void *data, size_t size) {
  if (!model) return T2M_ERROR_ARGUMENT;
  if (model->engine.run) return T2M_ERROR_UNSUPPORTED;
  if (!data) {
    t2m_graph graph;
    t2m_head own;
    t2m_status status = t2m_graph_open(&graph, model->file);
    if (!status) status = own_head(&graph, &model->facts, &own);
    if (status) return status;
    model->head = own;
    model->ran = 0;
    return T2M_OK;
  }
  if (!is_aligned(data)) return T2M_ERROR_ALIGNMENT;
  if (size > T2M_MAX_FILE) return T2M_ERROR_BROKEN_HEAD;
  t2m_bytes file = {(const uint8_t *)data, (uint32_t)size};
  t2m_head head;
  float input_scale;
  int32_t input_zero;
  t2m_status status = t2m_read_head(file, &head, &input_scale, &input_zero);
  if (status) return status;
  const t2m_operator *last = last_operator(model);
  const t2m_layout *layout = &model->layout;
  if (head.layer[0].is_int8 != model->is_int8 || head.layer[0].in_channels != layout->feature_count)
    return T2M_ERROR_HEAD_MISMATCH;
  if (model->is_int8 && (input_scale != last->output_scale || input_zero != last->output_zero))
    return T2M_ERROR_HEAD_MISMATCH;
  if (head.facts.height != model->facts.height || head.facts.width != model->facts.width) return T2M_ERROR_HEAD_MISMATCH;
  if (model->facts.backbone && !t2m_same_backbone(model->file, &model->facts, file, &head.facts))
    return T2M_ERROR_HEAD_MISMATCH;
  uint32_t hidden = head.layer_count == 2 ? head.layer[0].out_channels : 0;
  if (head.facts.label_count > layout->label_room || hidden > layout->hidden_room) return T2M_ERROR_HEAD_TOO_LARGE;
  model->head = head;
  model->ran = 0;
  return T2M_OK;
}

uint32_t t2m_height(const t2m_model *model) { return model->facts.height; }

uint32_t t2m_width(const t2m_model *model) { return model->facts.width; }

uint8_t *t2m_input(t2m_model *model) { return model->arena + model->layout.input; }

uint32_t t2m_label_count(const t2m_model *model) { return model->head.layer_count ? model->head.facts.label_count : 0; }

const float *t2m_scores(const t2m_model *model) {
  return model->ran && model->head.layer_count ? (const float *)(const void *)(model->arena + model->layout.scores) : NULL;
}

const void *t2m_features(const t2m_model *model, uint32_t *count, bool *is_int8) {
  if (count) *count = model->layout.feature_count;
  if (is_int8) *is_int8 = model->is_int8;
  return model->ran && !model->engine.run ? model->arena + model->layout.features : NULL;
}

const char *t2m_kernels(const t2m_model *model) {
  return model->engine.run ? model->engine.name : model->kernel->name;
}

T2M_ONCE t2m_status t2m_set_kernels(t2m_model *model, const char *name) {
  const t2m_kernel *kernel = model ? t2m_find_kernel(name) : NULL;
  if (!kernel) return T2M_ERROR_ARGUMENT;
  model->kernel = kernel;
  return T2M_OK;
}

static void run_operator(t2m_model *model, const t2m_operator *op) {
  uint8_t *arena = model->arena, *scratch = arena + model->layout.scratch;
  const uint8_t *file = model->file.data;
  const int8_t *in8 = (const int8_t *)(arena + op->input), *other8 = (const int8_t *)(arena + op->other);
  const float *in = (const float *)(const void *)(arena + op->input);
  const float *other = (const float *)(const void *)(arena + op->other);
  int8_t *out8 = (int8_t *)(arena + op->output);
  float *out = (float *)(void *)(arena + op->output);
  switch (op->kind) {
    case T2M_CONV:
      if (op->is_int8) {
        t2m_conv_int8(model->kernel, op, file, in8, out8, scratch);
      } else {
        t2m_conv_float(op, file, in, out, (float *)(void *)scratch);
      }
      break;
    case T2M_DEPTHWISE:
      if (op->is_int8) {
        t2m_depthwise_int8(op, file, in8, out8, scratch);
      } else {
        t2m_depthwise_float(op, file, in, out);
      }
      break;
    case T2M_ADD:
      if (op->is_int8) {
        t2m_add_int8(model->kernel, op, in8, other8, out8);
      } else {
        t2m_add_float(op, in, other, out);
      }
      break;
    case T2M_MEAN:
      if (op->is_int8) {
        t2m_mean_int8(op, in8, out8);
      } else {
        t2m_mean_float(op, in, out);
      }
      break;
    case T2M_UNIT:
      if (op->is_int8) {
        t2m_unit_int8(op, in8, out8);
      } else {
        t2m_unit_float(op, in, out);
      }
      break;
    case T2M_QUANTIZE:
      t2m_quantize(op, arena + op->input, out8);
      break;
    default:
      t2m_dequantize_uint8(op, arena + op->input, out);
  }
}

/* Features -> scores. */
static void run_head(t2m_model *model) {
  const t2m_head *head = &model->head;
  const t2m_layout *layout = &model->layout;
  uint8_t *arena = model->arena, *scratch = arena + layout->scratch;
  float *scores = (float *)(void *)(arena + layout->scores);
  const uint8_t *from = arena + layout->features;
  for (uint32_t i = 0; i < head->layer_count; i++) {
    const t2m_operator *layer = &head->layer[i];
    bool last = i + 1u == head->layer_count;
    if (model->is_int8) {
      uint8_t *to = arena + (last ? layout->logits : layout->hidden);
      t2m_conv_int8(model->kernel, layer, head->file.data, (const int8_t *)from, (int8_t *)to, scratch);
      if (last) t2m_dequantize_int8(layer->output_scale, layer->output_zero, layer->out_channels, (int8_t *)to, scores);
      from = to;
    } else {
      float *to = last ? scores : (float *)(void *)(arena + layout->hidden);
      t2m_conv_float(layer, head->file.data, (const float *)(const void *)from, to, (float *)(void *)scratch);
      from = (const uint8_t *)to;
    }
  }
  uint32_t labels = t2m_label_count(model);
  if (head->facts.scores == T2M_SOFTMAX) t2m_softmax(scores, labels);
  if (head->facts.scores == T2M_SIGMOID) t2m_sigmoid(scores, labels);
}

static t2m_status check_scores(const float *scores, uint32_t count) {
  for (uint32_t i = 0; i < count; i++)
    if (!t2m_is_finite(scores[i])) return T2M_ERROR_NOT_FINITE;
  return T2M_OK;
}

t2m_status t2m_run(t2m_model *model) {
  if (!model) return T2M_ERROR_ARGUMENT;
  model->ran = 0;
  const t2m_operator *operators = t2m_operators(model);
  for (uint32_t i = 0; i < model->layout.operator_count; i++) run_operator(model, &operators[i]);
  float *scores = (float *)(void *)(model->arena + model->layout.scores);
  uint32_t labels = t2m_label_count(model);
  t2m_status status = T2M_OK;
  if (model->engine.run) {
    size_t size = (size_t)model->facts.height * model->facts.width * 3u;
    status = model->engine.run(model->engine.context, t2m_input(model), size, scores, labels);
    const t2m_facts *facts = &model->facts;
    for (uint32_t i = 0; facts->output_scale > 0 && i < labels; i++)
      scores[i] = (scores[i] - (float)facts->output_zero) * facts->output_scale;
  } else if (model->head.layer_count) {
    run_head(model);
  }
  if (!status) status = check_scores(scores, labels);
  if (!status) model->ran = 1;
  return status;
}

T2M_ONCE t2m_status t2m_label(const t2m_model *model, uint32_t index, char *text, size_t room) {
  if (!model || !text || room == 0 || index >= t2m_label_count(model)) return T2M_ERROR_ARGUMENT;
  uint32_t most = room > T2M_LABEL_BYTES ? T2M_LABEL_BYTES : (uint32_t)room;
  uint32_t length = t2m_read_label(model->head.file, &model->head.facts, index, text, most);
  return length < most ? T2M_OK : T2M_ERROR_ARGUMENT;
}

T2M_ONCE t2m_status t2m_present(const t2m_model *model, uint32_t index, bool *present) {
  if (!model || !present || index >= t2m_label_count(model)) return T2M_ERROR_ARGUMENT;
  const float *scores = t2m_scores(model);
  if (!scores) return T2M_ERROR_NOT_RUN;
  *present = t2m_any_reaches(model->head.file, &model->head.facts, scores, index, 1);
  return T2M_OK;
}

/* Whether class a stands before class b: a higher score, or the same and an earlier label. */
static bool is_before(const float *scores, uint32_t a, uint32_t b) {
  return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
}

T2M_ONCE t2m_status t2m_top(const t2m_model *model, t2m_class *top, uint32_t most, uint32_t *count, bool *rejected) {
  if (!model || !top || most == 0) return T2M_ERROR_ARGUMENT;
  if (!model->head.layer_count) return T2M_ERROR_NO_HEAD;
  const float *scores = t2m_scores(model);
  if (!scores) return T2M_ERROR_NOT_RUN;
  uint32_t labels = t2m_label_count(model), found = 0;
  for (uint32_t i = 0; i < labels; i++) {
    /* Insertion into the sorted list of the best so far. */
    uint32_t place = found < most ? found++ : most;
    while (place > 0 && is_before(scores, i, top[place - 1u].index)) {
      if (place < most) top[place] = top[place - 1u];
      place--;
    }
    if (place < most) {
      top[place].index = i;
      top[place].score = scores[i];
    }
  }
  if (count) *count = found;
  if (rejected) {
    /* Of several labels any may be there; of others only the best. */
    const t2m_facts *facts = &model->head.facts;
    bool several = facts->scores == T2M_SIGMOID;
    *rejected = !t2m_any_reaches(model->head.file, facts, scores, several ? 0 : top[0].index, several ? labels : 1u);
  }
  return T2M_OK;
}
