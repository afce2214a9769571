#include "arena.h"

#include "frame.h"

/* A tensor while it is being placed: its number in the file, its bytes, and when it is in use. */
typedef struct lifetime {
  uint32_t tensor, size, first, last, offset;
} lifetime;

#define NOT_PLACED 0xFFFFFFFFu

typedef struct placement {
  lifetime tensors[T2M_MAX_OPERATORS + 1]; /* the image, then one for each operator */
  uint32_t count;
} placement;

uint32_t t2m_row_length(uint32_t depth) { return (depth + T2M_BLOCK - 1u) / T2M_BLOCK * T2M_BLOCK; }

static uint32_t depth_of(const t2m_operator *op) { return op->kernel_height * op->kernel_width * op->in_channels; }

uint32_t t2m_rows_offset(const t2m_operator *op) {
  return op->is_int8 ? t2m_align(op->out_channels * 3u * (uint32_t)sizeof(int32_t)) : 0u;
}

/* Bytes that an operator needs while it runs. */
static uint32_t scratch_of(const t2m_operator *op) {
  switch (op->kind) {
    case T2M_CONV:
      if (!op->is_int8) return T2M_TILE * 4u * depth_of(op);
      return t2m_rows_offset(op) + 2u * T2M_TILE * t2m_row_length(depth_of(op));
    case T2M_DEPTHWISE:
      return t2m_rows_offset(op);
    default:
      return 0;
  }
}

static lifetime *find(placement *plan, uint32_t tensor) {
  for (uint32_t i = 0; i < plan->count; i++)
    if (plan->tensors[i].tensor == tensor) return &plan->tensors[i];
  return NULL;
}

static bool overlap(const lifetime *a, const lifetime *b) { return a->first <= b->last && b->first <= a->last; }

/* The lowest offset at which a tensor meets no placed tensor that is in use at the same time. */
static uint32_t lowest_offset(const placement *plan, const lifetime *wanted) {
  uint32_t offset = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (uint32_t i = 0; i < plan->count; i++) {
      const lifetime *other = &plan->tensors[i];
      if (other->offset == NOT_PLACED || !overlap(wanted, other)) continue;
      if (offset < other->offset + other->size && other->offset < offset + wanted->size) {
        offset = other->offset + other->size;
        moved = true;
      }
    }
  }
  return offset;
}

/* The image first, at 0; then the largest tensor first, the earlier one of equals. Returns the end of the highest. */
static uint32_t place(placement *plan) {
  uint32_t end = 0;
  for (uint32_t step = 0; step < plan->count; step++) {
    lifetime *next = NULL;
    for (uint32_t i = 0; i < plan->count; i++) {
      lifetime *tensor = &plan->tensors[i];
      if (tensor->offset == NOT_PLACED && (!next || (step > 0 && tensor->size > next->size))) next = tensor;
    }
    next->offset = lowest_offset(plan, next);
    if (next->offset + next->size > end) end = next->offset + next->size;
  }
  return end;
}

static uint32_t tensor_bytes(const t2m_operator *op) {
  return t2m_align(op->out_height * op->out_width * op->out_channels * (op->is_int8 ? 1u : 4u));
}

/* Lifetimes of all tensors, and the largest scratch of any operator. Refuses tensors that are read before written. */
static t2m_status measure(t2m_graph *graph, placement *plan, uint32_t *scratch) {
  uint32_t operators = graph->backbone_operators;
  lifetime image = {graph->input, t2m_align(graph->height * graph->width * 3u), 0, 0, NOT_PLACED};
  plan->tensors[0] = image;
  plan->count = 1;
  *scratch = 0;
  uint32_t total = image.size;
  for (uint32_t i = 0; i < operators; i++) {
    t2m_operator op;
    t2m_status status = t2m_graph_operator(graph, i, &op);
    if (status) return status;
    lifetime *input = find(plan, op.input), *other = find(plan, op.other);
    if (!input || !other || find(plan, op.output)) return T2M_ERROR_UNSUPPORTED;
    input->last = other->last = i;
    /* The head reads the features after the last operator. */
    lifetime output = {op.output, tensor_bytes(&op), i, i + 1u == operators ? operators : i, NOT_PLACED};
    plan->tensors[plan->count++] = output;
    /* No offset can pass the sum of all sizes, which must stay far from overflow. */
    if (output.size > T2M_MAX_FILE - total) return T2M_ERROR_UNSUPPORTED;
    total += output.size;
    uint32_t needed = scratch_of(&op);
    if (needed > *scratch) *scratch = needed;
  }
  return T2M_OK;
}

/* What the head's layers need: a wider or longer head has the same form. */
static uint32_t head_scratch(const t2m_graph *graph, uint32_t hidden, uint32_t labels) {
  t2m_operator first = {0}, second = {0};
  first.kind = second.kind = T2M_CONV;
  first.is_int8 = second.is_int8 = graph->is_int8 != 0;
  first.kernel_height = first.kernel_width = second.kernel_height = second.kernel_width = 1;
  first.in_channels = graph->feature_count;
  first.out_channels = hidden > labels ? hidden : labels;
  second.in_channels = hidden;
  second.out_channels = labels;
  uint32_t a = labels ? scratch_of(&first) : 0u, b = hidden ? scratch_of(&second) : 0u;
  return a > b ? a : b;
}

t2m_frame_memory t2m_plan_frame(uint32_t side, uint32_t height, uint32_t width) {
  uint32_t shorter = height < width ? height : width;
  t2m_frame_memory memory;
  memory.taps = 2u * ((side + shorter - 1u) / shorter) + 1u;
  memory.pixels = 0;
  memory.plane = t2m_align(side) + T2M_BLOCK;
  memory.spans = memory.pixels + 3u * memory.plane;
  memory.weights = memory.spans + t2m_align((uint32_t)sizeof(t2m_span) * width);
  memory.padded = t2m_row_length(memory.taps);
  memory.column = memory.weights + 2u * 2u * width * memory.padded;
  memory.offsets = memory.column + t2m_align(2u * 4u * memory.taps);
  memory.rows = memory.offsets + t2m_align(3u * 2u * t2m_offsets_of(side));
  memory.gathered = memory.rows + t2m_align(memory.taps * 3u * width);
  memory.size = memory.gathered + t2m_align(t2m_gathered_of(side));
  return memory;
}

static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }

t2m_status t2m_plan(t2m_graph *graph, const t2m_room *room, t2m_layout *layout) {
  placement plan;
  uint32_t scratch;
  t2m_status status = measure(graph, &plan, &scratch);
  if (status) return status;
  t2m_operator layer[2];
  uint32_t layers, hidden = 0, labels = 0;
  t2m_scoring scoring;
  status = t2m_graph_head(graph, layer, &layers, &scoring);
  if (status) return status;
  if (layers) labels = layer[layers - 1u].out_channels;
  if (layers == 2) hidden = layer[0].out_channels;
  uint32_t side = room && room->frame_side ? room->frame_side : T2M_DEFAULT_FRAME_SIDE;
  if (room) {
    if (room->labels > T2M_MAX_LABELS || room->hidden > T2M_MAX_CHANNELS || side > T2M_MAX_FRAME_SIDE)
      return T2M_ERROR_ARGUMENT;
    labels = larger(labels, room->labels);
    hidden = larger(hidden, room->hidden);
  }

  uint32_t item = graph->is_int8 ? 1u : 4u;
  t2m_layout found = {0};
  found.operators = T2M_MODEL_BYTES;
  found.operator_count = graph->backbone_operators;
  found.hidden = found.operators + found.operator_count * (uint32_t)sizeof(t2m_operator);
  found.logits = found.hidden + t2m_align(hidden * item);
  found.scores = found.logits + (graph->is_int8 ? t2m_align(labels) : 0u);
  found.input = found.scores + t2m_align(labels * 4u);
  found.hidden_room = hidden;
  found.label_room = labels;
  found.feature_count = graph->feature_count;
  uint32_t tensors = place(&plan);
  found.features = found.input + find(&plan, graph->features)->offset;
  found.scratch = found.input + tensors;
  uint32_t running = tensors + larger(scratch, head_scratch(graph, hidden, labels));
  uint32_t preparing = plan.tensors[0].size + t2m_plan_frame(side, graph->height, graph->width).size;
  if (running > T2M_MAX_FILE || preparing > T2M_MAX_FILE) return T2M_ERROR_UNSUPPORTED;
  found.size = found.input + larger(running, preparing);
  *layout = found;
  return T2M_OK;
}

t2m_status t2m_write_operators(t2m_graph *graph, const t2m_layout *layout, t2m_operator *operators) {
  placement plan;
  uint32_t scratch;
  t2m_status status = measure(graph, &plan, &scratch);
  if (status) return status;
  place(&plan);
  for (uint32_t i = 0; i < layout->operator_count; i++) {
    t2m_operator *op = &operators[i];
    status = t2m_graph_operator(graph, i, op);
    if (status) return status;
    op->input = layout->input + find(&plan, op->input)->offset;
    op->other = layout->input + find(&plan, op->other)->offset;
    op->output = layout->input + find(&plan, op->output)->offset;
  }
  return T2M_OK;
}
