// SPDX-License-Identifier: Apache-2.0
// Messages of the API to core's Request. It refuses only what a Request cannot hold: enum values
// and kinds of images that this server does not know. All other rules stand in
// core/request/validate.h. Pure functions; thread safe.
#ifndef SERVER_API_REQUEST_READER_H_
#define SERVER_API_REQUEST_READER_H_

#include <map>
#include <string>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/base/task.h"
#include "core/request/request.h"
#include "paligemma/v1/paligemma_service.pb.h"

namespace paligemma {

// What the client wants of the answer's form.
struct ResponseOptions {
  bool logprobs_asked = false;
  bool omit_streamed_masks = false;
  std::map<std::string, std::string> tags;  // for the access log
};

struct ParsedRequest {
  Request request;
  ResponseOptions response;
};

// Each moves the images out of `message`. `now` is the arrival. The caller fills in the id and the
// deadline.
StatusOr<ParsedRequest> ReadRequest(v1::CaptionRequest* message, TimePoint now);
StatusOr<ParsedRequest> ReadRequest(v1::AnswerRequest* message, TimePoint now);
StatusOr<ParsedRequest> ReadRequest(v1::DetectRequest* message, TimePoint now);
StatusOr<ParsedRequest> ReadRequest(v1::SegmentRequest* message, TimePoint now);
StatusOr<ParsedRequest> ReadRequest(v1::ReadTextRequest* message, TimePoint now);
StatusOr<ParsedRequest> ReadRequest(v1::GenerateRequest* message, TimePoint now);
// Reads the task inside. Paths in errors begin with TaskPath().
StatusOr<ParsedRequest> ReadRequest(v1::StreamGenerateRequest* message, TimePoint now);

// Returns where a streamed request holds the fields of its task: "task.caption.".
std::string TaskPath(Task task);
// Returns the error with `prefix` before the path of its field.
Status WithPathPrefix(const Status& status, const std::string& prefix);

// Checks what the metadata `x-paligemma-model` repeats (empty: there is none) against the name in
// the request; an empty one stands for `served`.
Status CheckModelMetadata(const std::string& metadata, const std::string& model,
                          const std::string& served);

}  // namespace paligemma

#endif  // SERVER_API_REQUEST_READER_H_
