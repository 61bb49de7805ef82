// SPDX-License-Identifier: Apache-2.0
#include "core/sched/stopping_criteria.h"

#include <algorithm>

namespace paligemma {
namespace {

bool IsEnd(const Sequence& sequence, TokenId token) {
  if (token == sequence.eos) return true;
  if (sequence.output_rules == nullptr) return false;
  const std::vector<TokenId>& ends = sequence.output_rules->more_ends;
  return std::find(ends.begin(), ends.end(), token) != ends.end();
}

}  // namespace

FinishReason CheckStop(const Sequence& sequence) {
  if (sequence.output.empty()) return FinishReason::kNone;
  const bool at_eos = IsEnd(sequence, sequence.output.back());
  if (at_eos && !sequence.sampling.ignore_eos) return FinishReason::kStop;
  if (static_cast<int>(sequence.output.size()) >= sequence.max_tokens) {
    return FinishReason::kMaxTokens;
  }
  return FinishReason::kNone;
}

}  // namespace paligemma
