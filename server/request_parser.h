// SPDX-License-Identifier: Apache-2.0
// The API's requests into core's. Checks every field that needs neither the picture nor the
// tokenizer; the error names the field by its path ("generation_config.top_p"). Nothing is clamped.
// Pure functions; thread safe.
#ifndef SERVER_REQUEST_PARSER_H_
#define SERVER_REQUEST_PARSER_H_

#include <map>
#include <optional>
#include <string>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/bundle/manifest.h"
#include "core/request/request.h"
#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma {

struct ParserOptions {
  const Manifest* manifest = nullptr;  // not owned
  std::string model_name;              // "models/paligemma2-3b-mix-448"
  std::int64_t max_image_bytes = 0;
  std::int64_t max_image_pixels = 0;
  bool allow_ignore_eos = false;
};

// What the answer should look like; what core need not know.
struct ResponseOptions {
  bool logprobs_asked = false;  // by the client, and not by ourselves for scores
  std::optional<float> min_score;
  v1::MaskFormat mask_format = v1::MASK_FORMAT_PNG;
  v1::MaskExtent mask_extent = v1::MASK_EXTENT_BOX;
  float mask_threshold = 0.5f;
  bool omit_streamed_masks = false;
  std::map<std::string, std::string> tags;  // for the access log
};

struct ParsedRequest {
  Request request;
  ResponseOptions response;
};

// Each moves the images out of `request`. `now` is the arrival; id and deadline are the caller's to
// fill in.
StatusOr<ParsedRequest> ParseRequest(v1::CaptionRequest* request, const ParserOptions& options,
                                     TimePoint now);
StatusOr<ParsedRequest> ParseRequest(v1::AnswerRequest* request, const ParserOptions& options,
                                     TimePoint now);
StatusOr<ParsedRequest> ParseRequest(v1::DetectRequest* request, const ParserOptions& options,
                                     TimePoint now);
StatusOr<ParsedRequest> ParseRequest(v1::SegmentRequest* request, const ParserOptions& options,
                                     TimePoint now);
StatusOr<ParsedRequest> ParseRequest(v1::ReadTextRequest* request, const ParserOptions& options,
                                     TimePoint now);
StatusOr<ParsedRequest> ParseRequest(v1::GenerateRequest* request, const ParserOptions& options,
                                     TimePoint now);
// The task inside; its own paths, prefixed by "task.".
StatusOr<ParsedRequest> ParseRequest(v1::StreamGenerateRequest* request,
                                     const ParserOptions& options, TimePoint now);

// Where a streamed request holds a method's own: "task.caption.".
std::string TaskPath(Task task);
// The error's field, seen from the request around it.
Status WithPathPrefix(const Status& status, const std::string& prefix);

// Checks the name that `x-paligemma-model` repeats (empty: none) against the request's.
Status CheckModelMetadata(const std::string& metadata, const std::string& model,
                          const ParserOptions& options);

}  // namespace paligemma

#endif  // SERVER_REQUEST_PARSER_H_
