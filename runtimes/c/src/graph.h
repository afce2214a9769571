/* The graph of a .tflite: which operators, on which tensors. Knows only what t2m-edge writes. */
#ifndef T2M_GRAPH_H
#define T2M_GRAPH_H

#include "flatbuffer.h"

typedef struct t2m_graph {
  t2m_reader reader;
  t2m_vector codes, tensors, operators, buffers;
  uint32_t input;               /* tensor number of the image */
  uint32_t features;            /* tensor number of the backbone's output */
  uint32_t height, width;       /* of the image */
  uint32_t feature_count;
  uint32_t backbone_operators;  /* operators up to the one that gives the features; the rest is the head */
  uint32_t is_int8;
} t2m_graph;

/* Finds the parts of a model. */
T2M_ONCE t2m_status t2m_graph_open(t2m_graph *graph, t2m_bytes file);

/* Reads and checks operator `index` of the backbone; input, other and output are tensor numbers. */
T2M_ONCE t2m_status t2m_graph_operator(t2m_graph *graph, uint32_t index, t2m_operator *op);

/* Reads the operators after the features: one or two layers, and what follows them. scoring: what they make of the
 * logits. Where a graph ends in integers, or computes SOFTMAX in them, the core does it in float all the same: its
 * scores always are.
 */
T2M_ONCE t2m_status t2m_graph_head(t2m_graph *graph, t2m_operator layer[2], uint32_t *layer_count,
                          t2m_scoring *scoring);

#endif
