// SPDX-License-Identifier: Apache-2.0
// One stream of tokens being generated for a request. The scheduler owns it; only the engine thread
// touches it. It knows nothing of KV blocks.
#ifndef CORE_REQUEST_SEQUENCE_H_
#define CORE_REQUEST_SEQUENCE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/clock.h"
#include "core/base/types.h"
#include "core/bundle/manifest.h"
#include "core/request/image.h"
#include "core/request/request.h"

namespace paligemma {

struct Sequence {
  SequenceId id = kNoSequence;

  // The prefix: `images`, each of `tokens_per_image` soft tokens, then `prompt` (BOS, text,
  // newline).
  std::vector<PreparedImage> images;
  int tokens_per_image = 0;
  std::vector<TokenId> prompt;

  SamplingParams sampling;
  int max_tokens = 0;      // of output
  std::uint64_t seed = 0;  // of this sequence alone
  int logprobs = -1;       // alternatives to report at each token; -1: no log-probabilities at all
  Priority priority = Priority::kNormal;
  TimePoint arrival{};
  TimePoint deadline = kNoDeadline;
  TimePoint time_budget = kNoDeadline;
  TokenId eos = 1;
  std::shared_ptr<const OutputRules> output_rules;  // null: none

  // Generated so far, EOS included. Only Scheduler::Commit appends.
  std::vector<TokenId> output;

  int num_image_tokens() const { return static_cast<int>(images.size()) * tokens_per_image; }
  int num_prompt_tokens() const { return num_image_tokens() + static_cast<int>(prompt.size()); }
  // Returns the most positions that the sequence can need in the KV cache. The last token is
  // sampled but never fed.
  int max_positions() const { return num_prompt_tokens() + max_tokens - 1; }
};

}  // namespace paligemma

#endif  // CORE_REQUEST_SEQUENCE_H_
