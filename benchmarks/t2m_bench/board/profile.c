/* model.c is part of this file, in the place of itself, for its steps are its own: the core knows nothing of being
 * timed, and is not larger for it.
 */
#include "model.c"

#include "profile.h"

uint32_t profile_steps(const t2m_model *model) { return model->layout.operator_count + 1u; }

void profile_step(t2m_model *model, uint32_t step) {
  if (step < model->layout.operator_count) {
    run_operator(model, &t2m_operators(model)[step]);
  } else if (model->head.layer_count) {
    run_head(model);
  }
}
