/* LiteRT's compiled-model API (libLiteRt.so), with our own declarations: no package ships its headers.
 *
 * The library exports no version. Functions changed before 2.2; LiteRtBuilderBuildTensor came with it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "context.h"

/* LiteRtRankedTensorType: element type, then rank and dimensions; larger than any version's. */
typedef struct tensor_type {
  int32_t element, rank_and_flags, dimensions[8], rest[32];
} tensor_type;

enum { ELEMENT_FLOAT32 = 1, ELEMENT_UINT8 = 3, ELEMENT_INT8 = 9, LOCK_READ = 0, LOCK_WRITE = 1, CPU = 1 };

typedef struct litert {
  t2m_engine_context base;
  void *environment, *model, *compiled, *input, *output;
  size_t input_bytes, output_bytes;
  int32_t output_element;
  int (*lock)(void *buffer, void **address, int mode);
  int (*unlock)(void *buffer);
  int (*run)(void *compiled, size_t signature, size_t inputs, void **input, size_t outputs, void **output);
  void (*destroy_buffer)(void *buffer);
  void (*destroy_compiled)(void *compiled);
  void (*destroy_model)(void *model);
  void (*destroy_environment)(void *environment);
} litert;

static void close_litert(t2m_engine_context *context) {
  litert *self = (litert *)context;
  if (self->input) self->destroy_buffer(self->input);
  if (self->output) self->destroy_buffer(self->output);
  if (self->compiled) self->destroy_compiled(self->compiled);
  if (self->model) self->destroy_model(self->model);
  if (self->environment) self->destroy_environment(self->environment);
  free(self);
}

static t2m_status run_litert(void *context, const uint8_t *image, size_t size, float *scores, uint32_t count) {
  litert *self = (litert *)context;
  void *at;
  size_t item = self->output_element == ELEMENT_FLOAT32 ? 4u : 1u;
  if (self->input_bytes != size || self->output_bytes != item * count) return T2M_ERROR_ENGINE;
  if (self->lock(self->input, &at, LOCK_WRITE)) return T2M_ERROR_ENGINE;
  memcpy(at, image, size);
  if (self->unlock(self->input)) return T2M_ERROR_ENGINE;
  if (self->run(self->compiled, 0, 1, &self->input, 1, &self->output)) return T2M_ERROR_ENGINE;
  if (self->lock(self->output, &at, LOCK_READ)) return T2M_ERROR_ENGINE;
  t2m_copy_scores(scores, at, count, item, self->output_element == ELEMENT_INT8);
  return self->unlock(self->output) ? T2M_ERROR_ENGINE : T2M_OK;
}

/* One buffer for the model's only input or output. */
typedef struct buffer_maker {
  int (*tensor)(void *signature, size_t index, void **tensor);
  int (*requirements)(void *compiled, size_t signature, size_t index, void **requirements);
} buffer_maker;

static t2m_status make_buffers(litert *self, void *library, void *signature, char *message) {
  buffer_maker in, out;
  int (*type_of)(void *tensor, tensor_type *type);
  int (*create)(void *environment, const tensor_type *type, void *requirements, void **buffer);
  int (*size_of)(void *buffer, size_t *bytes);
  bool found = T2M_FUNCTION(library, in.tensor, "LiteRtGetSignatureInputTensorByIndex");
  found = T2M_FUNCTION(library, out.tensor, "LiteRtGetSignatureOutputTensorByIndex") && found;
  found = T2M_FUNCTION(library, in.requirements, "LiteRtGetCompiledModelInputBufferRequirements") && found;
  found = T2M_FUNCTION(library, out.requirements, "LiteRtGetCompiledModelOutputBufferRequirements") && found;
  found = T2M_FUNCTION(library, type_of, "LiteRtGetRankedTensorType") && found;
  found = T2M_FUNCTION(library, create, "LiteRtCreateManagedTensorBufferFromRequirements") && found;
  found = T2M_FUNCTION(library, size_of, "LiteRtGetTensorBufferPackedSize") && found;
  if (!found) return t2m_engine_fails(message, "this LiteRT lacks functions of 2.2; install ai-edge-litert 2.2 or later");
  for (int i = 0; i < 2; i++) {
    const buffer_maker *maker = i ? &out : &in;
    void *tensor, *requirements, **buffer = i ? &self->output : &self->input;
    tensor_type type = {0};
    if (maker->tensor(signature, 0, &tensor) || type_of(tensor, &type))
      return t2m_engine_fails(message, "the model has no %s; compile it again", i ? "output" : "input");
    bool known = type.element == ELEMENT_UINT8;
    if (i) known = known || type.element == ELEMENT_FLOAT32 || type.element == ELEMENT_INT8;
    if (!known)
      return t2m_engine_fails(message, "the model's %s has element type %d; compile it with t2m-edge",
                              i ? "output" : "input", (int)type.element);
    if (i) self->output_element = type.element;
    if (maker->requirements(self->compiled, 0, 0, &requirements) ||
        create(self->environment, &type, requirements, buffer) ||
        size_of(*buffer, i ? &self->output_bytes : &self->input_bytes))
      return t2m_engine_fails(message, "LiteRT gives no memory for the model's %s", i ? "output" : "input");
  }
  return T2M_OK;
}

static t2m_status load(litert *self, void *library, const char *path, const t2m_engine_options *options, char *message) {
  int (*create_environment)(int count, const void *options, void **environment);
  int (*create_model)(void *environment, const char *path, void **model);
  int (*create_options)(void **options);
  int (*set_accelerators)(void *options, int accelerators);
  int (*create_opaque)(const char *name, void *text, void (*destroy)(void *), void **opaque);
  int (*add_opaque)(void *options, void *opaque);
  int (*compile)(void *environment, void *model, void *options, void **compiled);
  int (*get_signature)(void *model, size_t index, void **signature);
  void (*destroy_options)(void *options);
  void *only_in_2_2;
  bool found = T2M_FUNCTION(library, create_environment, "LiteRtCreateEnvironment");
  found = T2M_FUNCTION(library, create_model, "LiteRtCreateModelFromFile") && found;
  found = T2M_FUNCTION(library, create_options, "LiteRtCreateOptions") && found;
  found = T2M_FUNCTION(library, set_accelerators, "LiteRtSetOptionsHardwareAccelerators") && found;
  found = T2M_FUNCTION(library, create_opaque, "LiteRtCreateOpaqueOptions") && found;
  found = T2M_FUNCTION(library, add_opaque, "LiteRtAddOpaqueOptions") && found;
  found = T2M_FUNCTION(library, compile, "LiteRtCreateCompiledModel") && found;
  found = T2M_FUNCTION(library, get_signature, "LiteRtGetModelSignature") && found;
  found = T2M_FUNCTION(library, destroy_options, "LiteRtDestroyOptions") && found;
  found = T2M_FUNCTION(library, only_in_2_2, "LiteRtBuilderBuildTensor") && found;
  found = T2M_FUNCTION(library, self->lock, "LiteRtLockTensorBuffer") && found;
  found = T2M_FUNCTION(library, self->unlock, "LiteRtUnlockTensorBuffer") && found;
  found = T2M_FUNCTION(library, self->run, "LiteRtRunCompiledModel") && found;
  found = T2M_FUNCTION(library, self->destroy_buffer, "LiteRtDestroyTensorBuffer") && found;
  found = T2M_FUNCTION(library, self->destroy_compiled, "LiteRtDestroyCompiledModel") && found;
  found = T2M_FUNCTION(library, self->destroy_model, "LiteRtDestroyModel") && found;
  found = T2M_FUNCTION(library, self->destroy_environment, "LiteRtDestroyEnvironment") && found;
  if (!found) return t2m_engine_fails(message, "not a LiteRT that is known; install ai-edge-litert 2.2 or a later 2.x");

  void *settings = NULL, *opaque, *signature;
  if (create_environment(0, NULL, &self->environment)) return t2m_engine_fails(message, "LiteRT does not start");
  if (create_model(self->environment, path, &self->model))
    return t2m_engine_fails(message, "LiteRT cannot load %.160s; is it a .tflite?", path);
  char text[40];
  snprintf(text, sizeof text, "num_threads = %d\n", options && options->threads > 0 ? options->threads : 1);
  char *copy = malloc(sizeof text);
  if (!copy) return t2m_engine_fails(message, "out of memory");
  memcpy(copy, text, sizeof text);
  /* LiteRT frees the text with the options. */
  bool made = !create_options(&settings) && !create_opaque("xnnpack", copy, free, &opaque) &&
              !add_opaque(settings, opaque) &&
              !set_accelerators(settings, options && options->accelerators ? options->accelerators : CPU) &&
              !compile(self->environment, self->model, settings, &self->compiled);
  if (settings) destroy_options(settings);
  if (!made) return t2m_engine_fails(message, "LiteRT cannot compile %.160s with these options", path);
  if (get_signature(self->model, 0, &signature))
    return t2m_engine_fails(message, "LiteRT finds no signature in %.160s", path);
  return make_buffers(self, library, signature, message);
}

t2m_status t2m_litert_engine(t2m_engine *engine, const char *library, const char *model,
                             const t2m_engine_options *options, char *message) {
  if (!engine || !library || !model || !message) return T2M_ERROR_ARGUMENT;
  message[0] = 0;
  void *opened = t2m_open_library(library, message);
  if (!opened) return T2M_ERROR_ENGINE;
  litert *self = calloc(1, sizeof *self);
  if (!self) return t2m_engine_fails(message, "out of memory");
  self->base.close = close_litert;
  t2m_status status = load(self, opened, model, options, message);
  if (status) {
    close_litert(&self->base);
    return status;
  }
  t2m_engine made = {"litert", run_litert, self};
  *engine = made;
  return T2M_OK;
}
