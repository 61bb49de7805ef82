// SPDX-License-Identifier: Apache-2.0
// The rules for requests: all those that need neither the tokenizer nor a decoded picture. Each
// rule stands here once, with its code, its wording and the path of the field that it blames. A
// front end fills a Request and calls ValidateRequest(); the engine relies on the result.
//
// A rule that gives text its normal form belongs to the check of its field in validate.cc; the
// forms themselves stand in core/request/text_forms.h.
//
// Pure functions; thread safe.
#ifndef CORE_REQUEST_VALIDATE_H_
#define CORE_REQUEST_VALIDATE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "core/base/status.h"
#include "core/bundle/manifest.h"
#include "core/request/request.h"

namespace paligemma {

// The limits that no model and no setting changes.
inline constexpr int kMaxCandidates = 8;
inline constexpr int kMaxLogprobs = 20;
inline constexpr std::size_t kMaxStopSequences = 8, kMaxStopBytes = 64;
inline constexpr std::size_t kMaxLabelBytes = 128;
inline constexpr float kMaxTemperature = 2, kMaxRepetitionPenalty = 10;
inline constexpr std::uint64_t kMaxSeed = std::numeric_limits<std::int32_t>::max();
inline constexpr std::chrono::hours kMaxTimeBudget{24};

// What requests are held against.
struct RequestRules {
  const Manifest* manifest = nullptr;  // not owned
  std::string model_name;              // as requests name the model: "models/paligemma2-3b-mix-448"
  ImageLimits image_limits;
  bool allow_ignore_eos = false;
};

// Checks the request, and gives its prompt, labels and language the form that the model was trained
// with. An error names the field
// as the API spells it ("generation_config.top_p", "images[0].raw"), with the value and the limit
// where there are such. No value is clamped; of several faults the first is reported.
Status ValidateRequest(const RequestRules& rules, Request* request);

// Returns the path of a picture: "image", or "images[2]" where the task takes several.
std::string ImagePath(Task task, std::size_t index);

}  // namespace paligemma

#endif  // CORE_REQUEST_VALIDATE_H_
