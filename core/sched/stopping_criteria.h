// SPDX-License-Identifier: Apache-2.0
// When a sequence is complete by what it generated. Pure.
#ifndef CORE_SCHED_STOPPING_CRITERIA_H_
#define CORE_SCHED_STOPPING_CRITERIA_H_

#include "core/request/sequence.h"

namespace paligemma {

// To be asked after each token was appended to `sequence.output`; kNone: go on. EOS before
// min_tokens never comes, since the sampler masks it. Stop sequences and objects are text, and so
// delivery's business.
FinishReason CheckStop(const Sequence& sequence);

}  // namespace paligemma

#endif  // CORE_SCHED_STOPPING_CRITERIA_H_
