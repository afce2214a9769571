/* Camera frames as rows of RGB, upright and cropped. */
#ifndef T2M_FRAME_H
#define T2M_FRAME_H

#include "core.h"

/* One plane of a frame as lines of samples: its rows, or its columns where the frame lies on its side. Strides are then
 * from one column to the next and steps from one row to the next, so that what reads lines need not know.
 */
typedef struct t2m_lines {
  const uint8_t *data; /* the first sample of the crop's part of line 0 */
  int64_t stride, step;
  uint32_t lines, count;  /* of the whole plane; samples of the crop's part of a line */
  uint8_t *gathered;      /* (most, count): lines whose samples lie apart, each in one piece */
  uint32_t most;
  uint32_t first, ready;  /* which of them are there */
} t2m_lines;

/* A checked frame, and how its upright, cropped rows run through it. */
typedef struct t2m_view {
  t2m_format format;
  uint32_t width, height; /* of the upright image after the crop */
  uint32_t first;         /* the line of the first upright row */
  bool backwards;         /* later rows are earlier lines */
  bool mirrored;          /* the first sample of a line is the last pixel of its row */
  bool alone;             /* the first chroma sample serves one pixel only */
  bool paired;            /* plane 1 has lines of both chroma in turn, plane 2 is not used */
  t2m_lines plane[3];     /* luma or packed pixels; the chroma that is stored first, and the other */
  /* YUV only: */
  const t2m_yuv_factors *factors;
  const t2m_kernel *kernel;
  int16_t *offsets;     /* of red, then green, then blue, of the chroma line that was read last; t2m_offsets_of each */
  uint32_t chroma_line; /* that line; T2M_NO_LINE: none yet */
} t2m_view;

#define T2M_NO_LINE 0xFFFFFFFFu

/* Room for the colour offsets of a row of `width` pixels, and what kernels read beyond them. */
static inline uint32_t t2m_offsets_of(uint32_t width) { return width / 2u + 8u; }

/* Bytes to gather a line of each plane. */
static inline uint32_t t2m_gathered_of(uint32_t width) { return width + 2u * (width / 2u + 1u); }

/* Checks a frame and describes what to read of it. stretch: the whole frame; otherwise its centre square.
 * view: unusable where the status is not T2M_OK.
 */
T2M_ONCE t2m_status t2m_look(const t2m_frame *frame, bool stretch, t2m_view *view);

/* Gives a view the memory that it needs: t2m_offsets_of offsets of three colours, t2m_gathered_of bytes or more. */
T2M_ONCE void t2m_give_memory(t2m_view *view, int16_t *offsets, uint8_t *gathered, uint32_t size);

/* One upright row, last pixel first where the view is mirrored. pixels: room for view->width in each plane. */
void t2m_read_row(t2m_view *view, uint32_t row, t2m_pixels pixels);

#endif
