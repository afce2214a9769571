/* t2m_engines.h: whole models on LiteRT or ONNX Runtime, through the functions of t2m.h.
 *
 *     t2m_engine engine;
 *     char message[T2M_ENGINE_MESSAGE];
 *     t2m_litert_engine(&engine, "libLiteRt.so", "model.tflite", NULL, message);
 *     t2m_open_engine(&model, &engine, file, file_size, NULL, arena, arena_size);
 *     ... t2m_prepare, t2m_run, t2m_top as always ...
 *     t2m_close_engine(&engine);
 *
 * The library is opened at run time: nothing of it is needed to build this, and a version that is not known is refused.
 * Unlike the core this needs a libc, dlopen and memory from malloc. An engine belongs to one thread at a time.
 */
#ifndef T2M_ENGINES_H
#define T2M_ENGINES_H

#include "t2m.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of a message. */
#define T2M_ENGINE_MESSAGE 256

typedef struct t2m_engine_options {
  int threads;      /* of the library; 0: 1 */
  int accelerators; /* LiteRT: 1 CPU, 2 GPU, 4 NPU, or a sum of them; 0: CPU */
} t2m_engine_options;

/* t2m_arena_size and t2m_open for a model that an engine runs: any precision, .tflite or .onnx, of which the core reads
 * the manifest only. Preparation, labels and answers are the same; there are no features, and heads cannot be swapped
 * (T2M_ERROR_UNSUPPORTED). The engine's context must outlive the model. data: need not be aligned.
 */
T2M_API t2m_status t2m_engine_arena_size(const void *data, size_t size, const t2m_room *room, size_t *bytes);
T2M_API t2m_status t2m_open_engine(t2m_model **model, const t2m_engine *engine, const void *data, size_t size,
                                   const t2m_room *room, void *arena, size_t arena_size);

/* LiteRT 2.2 or a later 2.x: libLiteRt.so of the package ai-edge-litert.
 *
 * library: its path, or a name for dlopen. model: path of the .tflite. options: NULL for the defaults. message: room for
 * T2M_ENGINE_MESSAGE bytes, one line where the status is not T2M_OK.
 * T2M_ERROR_ENGINE: no such library, an unknown version, or it cannot load the model.
 */
T2M_API t2m_status t2m_litert_engine(t2m_engine *engine, const char *library, const char *model,
                                     const t2m_engine_options *options, char *message);

/* ONNX Runtime 1.17 or a later 1.x: libonnxruntime.so of the package onnxruntime. model: path of the .onnx. */
T2M_API t2m_status t2m_onnxruntime_engine(t2m_engine *engine, const char *library, const char *model,
                                          const t2m_engine_options *options, char *message);

/* Gives an engine's memory back; the library stays loaded. The model on it may no longer be run. */
T2M_API void t2m_close_engine(t2m_engine *engine);

#ifdef __cplusplus
}
#endif

#endif
