/* The manifest inside an artifact: where its labels and thresholds lie, and what else the core needs of it. */
#ifndef T2M_MANIFEST_H
#define T2M_MANIFEST_H

#include "json.h"

/* Finds t2m_manifest.json in the zip archive at the end of a .tflite ("associated files" of TFLite Metadata). */
T2M_ONCE t2m_status t2m_find_manifest(t2m_bytes file, uint32_t *begin, uint32_t *end);

/* Reads and checks the manifest's text at [begin, end); quoted as in t2m_json. */
T2M_ONCE t2m_status t2m_read_manifest(t2m_bytes file, uint32_t begin, uint32_t end, uint32_t quoted, t2m_facts *facts);

/* Copies a label; returns its bytes without the NUL, as t2m_json_string. */
T2M_ONCE uint32_t t2m_read_label(t2m_bytes file, const t2m_facts *facts, uint32_t index, char *text, uint32_t room);

/* Whether one of `count` labels from `first` on reaches its threshold: a label without one always does, and of a
 * multi-label model from 0.5 on. scores: of all labels.
 */
T2M_ONCE bool t2m_any_reaches(t2m_bytes file, const t2m_facts *facts, const float *scores, uint32_t first, uint32_t count);

/* Whether two manifests name the same backbone. */
T2M_ONCE bool t2m_same_backbone(t2m_bytes a_file, const t2m_facts *a, t2m_bytes b_file, const t2m_facts *b);

#endif
