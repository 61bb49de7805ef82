// SPDX-License-Identifier: Apache-2.0
// Decides when the generated tokens make a sequence complete. A pure function.
#ifndef CORE_SCHED_STOPPING_CRITERIA_H_
#define CORE_SCHED_STOPPING_CRITERIA_H_

#include "core/request/sequence.h"

namespace paligemma {

// Returns why the sequence is complete, or kNone if it goes on. Call it after each token that was
// appended to `sequence.output`. EOS never comes before min_tokens, since the sampler masks it.
// Delivery finds stop sequences and objects, since these are made of text.
FinishReason CheckStop(const Sequence& sequence);

}  // namespace paligemma

#endif  // CORE_SCHED_STOPPING_CRITERIA_H_
