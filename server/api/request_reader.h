// SPDX-License-Identifier: Apache-2.0
// Turns messages of the API into core's Request. Refuses only what a Request cannot hold: enum
// values and kinds of images that this server does not know. core/request/validate.h has all other
// rules. Pure functions; thread safe.
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

// How the client wants the answer to be written.
struct ResponseOptions {
  bool logprobs_asked = false;
  bool omit_streamed_masks = false;
  std::map<std::string, std::string> tags;  // for the access log
};

struct ParsedRequest {
  Request request;
  ResponseOptions response;
};

// Each function moves the images out of `message`. `now` is the time of arrival. The caller fills
// in the id and the deadline.
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

// Checks that the metadata `x-paligemma-model` (empty: there is none) repeats the model's name in
// the request. An empty name in the request stands for `served`.
Status CheckModelMetadata(const std::string& metadata, const std::string& model,
                          const std::string& served);

}  // namespace paligemma

#endif  // SERVER_API_REQUEST_READER_H_
