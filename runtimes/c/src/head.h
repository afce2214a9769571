/* Head files (.t2mh): safetensors with the manifest as metadata; t2m_runtime/head_file.py describes the format. */
#ifndef T2M_HEAD_H
#define T2M_HEAD_H

#include "core.h"

/* Reads and checks a head file. layer[].input and output are not set. */
T2M_ONCE t2m_status t2m_read_head(t2m_bytes file, t2m_head *head, float *input_scale, int32_t *input_zero);

#endif
