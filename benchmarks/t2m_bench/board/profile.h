/* One inference in its steps: the backbone's operators in the order of the model's file, then the whole head. */
#ifndef BOARD_PROFILE_H
#define BOARD_PROFILE_H

#include "t2m.h"

uint32_t profile_steps(const t2m_model *model);

/* Runs a step; after all those before it, and on an input that was written since the last round. */
void profile_step(t2m_model *model, uint32_t step);

#endif
