// SPDX-License-Identifier: Apache-2.0
// What a client asked, in core's own words, and what it gets. A front end fills a Request, and
// ValidateRequest() (core/request/validate.h) checks it. Values only.
#ifndef CORE_REQUEST_REQUEST_H_
#define CORE_REQUEST_REQUEST_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/base/task.h"
#include "core/base/types.h"
#include "core/bundle/manifest.h"
#include "core/request/image.h"

namespace paligemma {

// How each token of a sequence is chosen.
struct SamplingParams {
  int min_tokens = 0;
  float temperature = 0;  // 0: greedy
  float top_p = 1;
  float min_p = 0;
  int top_k = 0;  // 0: off
  float repetition_penalty = 1;
  bool ignore_eos = false;
};

enum class Priority { kLow, kNormal, kHigh };

struct Box {  // normalized to [0, 1]
  float x_min = 0, y_min = 0, x_max = 0, y_max = 0;
};

struct Request {
  Task task = Task::kGenerate;
  std::string id;     // x-request-id
  std::string model;  // "models/..."; empty: the only one
  std::vector<ImageInput> images;
  std::string text;                 // the question, or Generate's raw prompt
  std::vector<std::string> labels;  // Detect, Segment
  bool separate_labels = false;     // one prompt for each label
  std::string language;             // BCP-47; ValidateRequest() leaves the primary subtag
  bool long_caption = false;
  std::optional<Box> region;  // Caption
  SamplingParams sampling;
  std::optional<int> max_tokens;      // of output; unset: the default of the task
  std::optional<std::uint64_t> seed;  // unset: a seed is drawn
  std::optional<int> logprobs;        // alternatives to report at each token; unset: none asked for
  int num_candidates = 1;
  std::vector<std::string> stop_sequences;
  int max_objects = 0;  // 0: no limit
  Priority priority = Priority::kNormal;
  TimePoint arrival{};
  TimePoint deadline = kNoDeadline;     // then DEADLINE_EXCEEDED
  TimePoint time_budget = kNoDeadline;  // then what is complete so far
  bool use_cache = true;
  // Cached pictures are shared among the requests of one scope alone: a tenant's name, or empty.
  std::string cache_scope;
};

// Returns how many tokens each sequence of the request may have.
// REQUIRES: manifest.Supports(request.task).
inline int MaxTokensOf(const Request& request, const Manifest& manifest) {
  return request.max_tokens.has_value() ? *request.max_tokens
                                        : manifest.DefaultOutputTokens(request.task);
}

enum class FinishReason { kNone, kStop, kMaxTokens, kTimeBudget, kMaxObjects };

struct TokenAlternative {
  TokenId token = 0;
  float logprob = 0;
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0;
  std::vector<TokenAlternative> alternatives;  // most probable first
};

// One sequence's outcome. Tokens and text are without EOS and without a matched stop sequence.
struct SequenceResult {
  int prompt_index = 0;  // with separate labels, the label; else 0
  int candidate_index = 0;
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;  // one per token of `tokens` when asked for
  float sum_logprob = 0;               // EOS included; meaningful with log-probabilities
  FinishReason finish = FinishReason::kNone;
  std::string matched_stop;
  int num_generated = 0;  // EOS included
};

struct RequestTiming {
  Duration queue{}, preprocess{}, vision{}, prefill{}, decode{}, postprocess{}, first_token{},
      total{};
};

struct RequestUsage {
  int num_images = 0, image_tokens = 0, cached_image_tokens = 0;
  int prompt_tokens = 0;  // image and text
  int cached_prompt_tokens = 0;
  int output_tokens = 0;  // over all sequences
};

struct RequestResult {
  std::vector<SequenceResult> sequences;  // by prompt, then by candidate as drawn
  std::vector<std::string> prompts;  // text prefixes as sent to the model, without image tokens
  std::vector<ImageInfo> images;
  std::uint64_t seed = 0;
  RequestUsage usage;
  RequestTiming timing;
};

// Text that was added to one sequence: whole UTF-8 characters, never part of a stop sequence.
struct RequestDelta {
  int prompt_index = 0, candidate_index = 0;
  std::string text;
  std::vector<TokenId> tokens;
  std::vector<TokenLogprob> logprobs;
};

// Receives the answer to one request. Calls come one at a time, from threads of the engine's
// delivery; none may block. Exactly one OnDone ends the request, also after a cancel, a fault or a
// drain; the sink is not touched after it.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  // The pictures are decoded and the prompts built; at most once, before any delta.
  virtual void OnPrepared(const std::vector<ImageInfo>& /*images*/) {}
  virtual void OnDelta(RequestDelta /*delta*/) {}
  // A result also comes with DEADLINE_EXCEEDED and the like: its usage and timing hold what was
  // spent.
  virtual void OnDone(Status status, RequestResult result) = 0;
};

}  // namespace paligemma

#endif  // CORE_REQUEST_REQUEST_H_
