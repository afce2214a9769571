/* Where everything lies in an arena. t2m_runtime/arena.py computes the same sizes in Python. */
#ifndef T2M_ARENA_H
#define T2M_ARENA_H

#include "graph.h"

/* Plans the arena of a model: every tensor of the backbone, the head's, the scratch. */
T2M_ONCE t2m_status t2m_plan(t2m_graph *graph, const t2m_room *room, t2m_layout *layout);

/* Writes the planned operator records into the arena. */
T2M_ONCE t2m_status t2m_write_operators(t2m_graph *graph, const t2m_layout *layout, t2m_operator *operators);

/* Parts of an operator's scratch: where its rows begin, after its scaling table. */
uint32_t t2m_rows_offset(const t2m_operator *op);

/* Values from one row to the next: whole blocks. */
uint32_t t2m_row_length(uint32_t depth);

/* Parts of the memory that t2m_prepare uses, for a source of `side` pixels on its longer side. */
typedef struct t2m_frame_memory {
  uint32_t taps;   /* most source pixels that one output pixel sees */
  uint32_t plane;  /* bytes of one plane of a source row */
  uint32_t pixels; /* position of the three planes of a source row */
  uint32_t spans;  /* t2m_span for each output column */
  uint32_t padded;  /* taps as whole blocks */
  uint32_t weights; /* low parts, (width, padded) int16, then high parts */
  uint32_t column; /* weights of one output row: as its span has them, then as the ring of rows does */
  uint32_t offsets; /* of YUV's colours, for one row */
  uint32_t rows;   /* taps horizontally resized rows: width * 3 bytes each */
  uint32_t gathered; /* lines of YUV that do not lie in one piece; the rest of the arena is theirs too */
  uint32_t size;
} t2m_frame_memory;

T2M_ONCE t2m_frame_memory t2m_plan_frame(uint32_t side, uint32_t height, uint32_t width);

#endif
