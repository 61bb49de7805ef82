// SPDX-License-Identifier: Apache-2.0
// What a client asks, in core's own words. A front end fills a Request, and
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
#include "core/request/answer.h"
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

struct Request {
  Task task = Task::kGenerate;
  std::string id;     // x-request-id
  std::string model;  // "models/..."; empty: the only one
  std::vector<ImageInput> images;
  std::string text;  // the question, or Generate's raw prompt
  // The task as whose prompt a raw prompt is written, if it is; ValidateRequest() finds it.
  std::optional<Task> written_task;
  std::vector<std::string> labels;  // Detect, Segment, and a raw prompt that is written as theirs
  bool separate_labels = false;     // one prompt for each label
  std::string language;             // BCP-47; ValidateRequest() leaves the model's own name
  bool long_caption = false;
  std::optional<Box> region;  // Caption
  SamplingParams sampling;
  std::optional<int> max_tokens;      // of output; unset: the default of the task
  std::optional<std::uint64_t> seed;  // unset: a seed is drawn
  std::optional<int> logprobs;        // alternatives to report at each token; unset: none asked for
  int num_candidates = 1;
  std::vector<std::string> stop_sequences;
  int max_objects = 0;             // 0: no limit
  std::optional<float> min_score;  // objects that score less are dropped and counted
  MaskOptions mask;                // of the objects that have codes
  bool streamed = false;           // the sink wants text and objects as they come
  Priority priority = Priority::kNormal;
  TimePoint arrival{};
  TimePoint deadline = kNoDeadline;     // then DEADLINE_EXCEEDED
  TimePoint time_budget = kNoDeadline;  // then what is complete so far
  bool use_cache = true;
  // Cached pictures are shared among the requests of one scope alone: a tenant's name, or empty.
  std::string cache_scope;
};

// Returns the task whose objects the answer holds: of a raw prompt, that as whose it is written.
inline Task ObjectTaskOf(const Request& request) {
  return request.written_task.value_or(request.task);
}

// Returns how many alternatives each token comes with; -1: no log-probabilities at all. Scores of
// objects and the order of candidates need log-probabilities, asked for or not.
inline int LogprobsOf(const Request& request) {
  const bool needed = TraitsOf(ObjectTaskOf(request)).has_objects || request.num_candidates > 1;
  return request.logprobs.value_or(needed ? 0 : -1);
}

// Returns how many tokens each sequence of the request may have.
// REQUIRES: manifest.Supports(request.task).
inline int MaxTokensOf(const Request& request, const Manifest& manifest) {
  return request.max_tokens.has_value() ? *request.max_tokens
                                        : manifest.DefaultOutputTokens(request.task);
}

}  // namespace paligemma

#endif  // CORE_REQUEST_REQUEST_H_
