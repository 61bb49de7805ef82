// SPDX-License-Identifier: Apache-2.0
#include "core/sched/stopping_criteria.h"

namespace paligemma {

FinishReason CheckStop(const Sequence& sequence) {
  if (sequence.output.empty()) return FinishReason::kNone;
  const bool at_eos = sequence.output.back() == sequence.eos;
  if (at_eos && !sequence.sampling.ignore_eos) return FinishReason::kStop;
  if (static_cast<int>(sequence.output.size()) >= sequence.max_tokens) {
    return FinishReason::kMaxTokens;
  }
  return FinishReason::kNone;
}

}  // namespace paligemma
