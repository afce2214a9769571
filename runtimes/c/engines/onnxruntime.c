/* ONNX Runtime's C API (libonnxruntime.so), with our own declarations.
 *
 * The library exports one function, which gives a table of functions whose order never changes; its versions only add to
 * the end (onnxruntime_c_api.h). These are the places that we use.
 */
#include <stdlib.h>
#include <string.h>

#include "context.h"

enum { API_VERSION = 17, LOG_ERROR = 3, DEVICE_ALLOCATOR = 0, DEFAULT_MEMORY = 0 };
enum { TYPE_FLOAT32 = 1, TYPE_UINT8 = 2, TYPE_INT8 = 3 };

enum {
  GET_ERROR_MESSAGE = 2,
  CREATE_ENVIRONMENT = 3,
  CREATE_SESSION = 7,
  RUN = 9,
  CREATE_SESSION_OPTIONS = 10,
  SET_THREADS = 24,
  INPUT_COUNT = 30,
  OUTPUT_COUNT = 31,
  INPUT_TYPE = 33,
  INPUT_NAME = 36,
  OUTPUT_NAME = 37,
  CREATE_TENSOR_WITH_DATA = 49,
  TENSOR_DATA = 51,
  AS_TENSOR_INFO = 55,
  ELEMENT_TYPE = 60,
  RANK = 61,
  SHAPE = 62,
  ELEMENT_COUNT = 64,
  TENSOR_INFO = 65,
  CREATE_CPU_MEMORY = 69,
  ALLOCATOR_FREE = 76,
  DEFAULT_ALLOCATOR = 78,
  RELEASE_ENVIRONMENT = 92,
  RELEASE_STATUS = 93,
  RELEASE_MEMORY = 94,
  RELEASE_SESSION = 95,
  RELEASE_VALUE = 96,
  RELEASE_TYPE_INFO = 98,
  RELEASE_TENSOR_INFO = 99,
  RELEASE_SESSION_OPTIONS = 100
};

typedef void (*function)(void);

typedef struct api_base {
  const function *(*get)(uint32_t version);
  const char *(*version)(void);
} api_base;

/* Entries of the table by their types. Functions that can fail return a status; NULL is success. */
typedef void (*release)(void *object);
typedef const char *(*message_of)(const void *status);
typedef void *(*create_environment)(int severity, const char *name, void **out);
typedef void *(*create_session)(void *environment, const char *path, void *options, void **out);
typedef void *(*run_session)(void *session, const void *options, const char *const *inputs, void *const *values,
                             size_t input_count, const char *const *outputs, size_t output_count, void **results);
typedef void *(*create_one)(void **out);
typedef void *(*set_number)(void *options, int number);
typedef void *(*get_count)(const void *object, size_t *count);
typedef void *(*get_name)(const void *session, size_t index, void *allocator, char **name);
typedef void *(*create_tensor)(const void *memory, void *data, size_t size, const int64_t *shape, size_t rank, int type,
                               void **out);
typedef void *(*get_data)(void *value, void **data);
typedef void *(*get_type)(const void *info, int *type);
typedef void *(*get_info)(const void *value, void **info);
typedef void *(*get_input_type)(const void *session, size_t index, void **info);
typedef void *(*as_tensor)(const void *type, const void **info);
typedef void *(*get_shape)(const void *info, int64_t *shape, size_t rank);
typedef void *(*create_memory)(int allocator, int kind, void **out);
typedef void *(*free_one)(void *allocator, void *pointer);

typedef struct ort {
  t2m_engine_context base;
  const function *api;
  void *environment, *session, *memory, *allocator;
  char *input, *output;
  int64_t shape[4];
} ort;

/* Whether a call failed; frees its status. */
static bool failed(const ort *self, void *status, char *message) {
  if (!status) return false;
  if (message) t2m_engine_fails(message, "ONNX Runtime: %.220s", ((message_of)self->api[GET_ERROR_MESSAGE])(status));
  ((release)self->api[RELEASE_STATUS])(status);
  return true;
}

static void close_ort(t2m_engine_context *context) {
  ort *self = (ort *)context;
  free_one free_name = (free_one)self->api[ALLOCATOR_FREE];
  if (self->input) failed(self, free_name(self->allocator, self->input), NULL);
  if (self->output) failed(self, free_name(self->allocator, self->output), NULL);
  if (self->memory) ((release)self->api[RELEASE_MEMORY])(self->memory);
  if (self->session) ((release)self->api[RELEASE_SESSION])(self->session);
  if (self->environment) ((release)self->api[RELEASE_ENVIRONMENT])(self->environment);
  free(self);
}

/* Copies a float32, uint8 or int8 tensor of `count` values. */
static bool copy_scores(const ort *self, void *value, float *scores, uint32_t count) {
  void *info = NULL, *data = NULL;
  int type = 0;
  size_t values = 0;
  bool good = !failed(self, ((get_info)self->api[TENSOR_INFO])(value, &info), NULL);
  good = good && !failed(self, ((get_type)self->api[ELEMENT_TYPE])(info, &type), NULL);
  good = good && (type == TYPE_FLOAT32 || type == TYPE_UINT8 || type == TYPE_INT8);
  good = good && !failed(self, ((get_count)self->api[ELEMENT_COUNT])(info, &values), NULL) && values == count;
  good = good && !failed(self, ((get_data)self->api[TENSOR_DATA])(value, &data), NULL);
  if (good) t2m_copy_scores(scores, data, count, type == TYPE_FLOAT32 ? 4u : 1u, type == TYPE_INT8);
  if (info) ((release)self->api[RELEASE_TENSOR_INFO])(info);
  return good;
}

static t2m_status run_ort(void *context, const uint8_t *image, size_t size, float *scores, uint32_t count) {
  ort *self = (ort *)context;
  void *input = NULL, *output = NULL;
  if (size != (size_t)(self->shape[1] * self->shape[2] * self->shape[3])) return T2M_ERROR_ENGINE;
  union {
    const uint8_t *given;
    void *wanted; /* the library does not write to an input */
  } data = {image};
  create_tensor wrap = (create_tensor)self->api[CREATE_TENSOR_WITH_DATA];
  if (failed(self, wrap(self->memory, data.wanted, size, self->shape, 4, TYPE_UINT8, &input), NULL))
    return T2M_ERROR_ENGINE;
  const char *inputs[] = {self->input}, *outputs[] = {self->output};
  void *values[] = {input};
  void *status = ((run_session)self->api[RUN])(self->session, NULL, inputs, values, 1, outputs, 1, &output);
  bool good = !failed(self, status, NULL) && copy_scores(self, output, scores, count);
  if (output) ((release)self->api[RELEASE_VALUE])(output);
  ((release)self->api[RELEASE_VALUE])(input);
  return good ? T2M_OK : T2M_ERROR_ENGINE;
}

/* The input's shape: (1, height, width, 3) of uint8. */
static bool read_shape(ort *self, char *message) {
  void *info = NULL;
  const void *tensor = NULL;
  int type = 0;
  size_t rank = 0;
  bool good = !failed(self, ((get_input_type)self->api[INPUT_TYPE])(self->session, 0, &info), message);
  good = good && !failed(self, ((as_tensor)self->api[AS_TENSOR_INFO])(info, &tensor), message) && tensor;
  good = good && !failed(self, ((get_type)self->api[ELEMENT_TYPE])(tensor, &type), message);
  good = good && !failed(self, ((get_count)self->api[RANK])(tensor, &rank), message) && rank == 4;
  good = good && !failed(self, ((get_shape)self->api[SHAPE])(tensor, self->shape, 4), message);
  for (int i = 1; i < 4; i++) good = good && self->shape[i] > 0 && self->shape[i] < 65536;
  if (info) ((release)self->api[RELEASE_TYPE_INFO])(info);
  return good && type == TYPE_UINT8 && self->shape[0] == 1;
}

static t2m_status load(ort *self, const char *path, const t2m_engine_options *options, char *message) {
  const function *api = self->api;
  void *settings = NULL;
  size_t inputs = 0, outputs = 0;
  int threads = options && options->threads > 0 ? options->threads : 1;
  create_environment start = (create_environment)api[CREATE_ENVIRONMENT];
  if (failed(self, start(LOG_ERROR, "t2m", &self->environment), message)) return T2M_ERROR_ENGINE;
  if (failed(self, ((create_one)api[CREATE_SESSION_OPTIONS])(&settings), message)) return T2M_ERROR_ENGINE;
  bool bad = failed(self, ((set_number)api[SET_THREADS])(settings, threads), message) ||
             failed(self, ((create_session)api[CREATE_SESSION])(self->environment, path, settings, &self->session), message);
  ((release)api[RELEASE_SESSION_OPTIONS])(settings);
  if (bad || failed(self, ((get_count)api[INPUT_COUNT])(self->session, &inputs), message) ||
      failed(self, ((get_count)api[OUTPUT_COUNT])(self->session, &outputs), message) ||
      failed(self, ((create_one)api[DEFAULT_ALLOCATOR])(&self->allocator), message) ||
      failed(self, ((create_memory)api[CREATE_CPU_MEMORY])(DEVICE_ALLOCATOR, DEFAULT_MEMORY, &self->memory), message))
    return T2M_ERROR_ENGINE;
  if (inputs != 1 || outputs != 1)
    return t2m_engine_fails(message, "the model has %zu inputs and %zu outputs; expected one of each", inputs, outputs);
  if (failed(self, ((get_name)api[INPUT_NAME])(self->session, 0, self->allocator, &self->input), message) ||
      failed(self, ((get_name)api[OUTPUT_NAME])(self->session, 0, self->allocator, &self->output), message))
    return T2M_ERROR_ENGINE;
  if (!read_shape(self, message))
    return t2m_engine_fails(message, "the model's input is not one uint8 image; compile it with t2m-edge");
  return T2M_OK;
}

t2m_status t2m_onnxruntime_engine(t2m_engine *engine, const char *library, const char *model,
                                  const t2m_engine_options *options, char *message) {
  const api_base *(*base)(void);
  if (!engine || !library || !model || !message) return T2M_ERROR_ARGUMENT;
  message[0] = 0;
  void *opened = t2m_open_library(library, message);
  if (!opened) return T2M_ERROR_ENGINE;
  if (!T2M_FUNCTION(opened, base, "OrtGetApiBase")) return t2m_engine_fails(message, "not a library of ONNX Runtime");
  const char *version = base()->version();
  if (version[0] != '1' || version[1] != '.')
    return t2m_engine_fails(message, "ONNX Runtime %.40s is not known; install 1.17 or a later 1.x", version);
  const function *api = strtol(version + 2, NULL, 10) < API_VERSION ? NULL : base()->get(API_VERSION);
  if (!api) return t2m_engine_fails(message, "ONNX Runtime %.40s is too old; install 1.17 or a later 1.x", version);
  ort *self = calloc(1, sizeof *self);
  if (!self) return t2m_engine_fails(message, "out of memory");
  self->base.close = close_ort;
  self->api = api;
  t2m_status status = load(self, model, options, message);
  if (status) {
    close_ort(&self->base);
    return status;
  }
  t2m_engine made = {"onnxruntime", run_ort, self};
  *engine = made;
  return T2M_OK;
}
