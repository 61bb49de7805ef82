// SPDX-License-Identifier: Apache-2.0
#include "core/base/status.h"

namespace paligemma {

std::string_view StatusCodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "OK";
    case StatusCode::kCancelled:
      return "CANCELLED";
    case StatusCode::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case StatusCode::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case StatusCode::kNotFound:
      return "NOT_FOUND";
    case StatusCode::kPermissionDenied:
      return "PERMISSION_DENIED";
    case StatusCode::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case StatusCode::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case StatusCode::kUnimplemented:
      return "UNIMPLEMENTED";
    case StatusCode::kInternal:
      return "INTERNAL";
    case StatusCode::kUnavailable:
      return "UNAVAILABLE";
    case StatusCode::kUnauthenticated:
      return "UNAUTHENTICATED";
  }
  return "INTERNAL";
}

Status::Status(StatusCode code, Reason reason, std::string message, Metadata metadata)
    : rep_(std::make_shared<const Rep>(Rep{code, reason, std::move(message), std::move(metadata),
                                           std::chrono::milliseconds(0)})) {
  PG_CHECK(code != StatusCode::kOk) << "an error needs an error code";
}

const std::string& Status::message() const {
  static const std::string* const empty = new std::string();
  return ok() ? *empty : rep_->message;
}

const Status::Metadata& Status::metadata() const {
  static const Metadata* const empty = new Metadata();
  return ok() ? *empty : rep_->metadata;
}

Status Status::WithRetryAfter(std::chrono::milliseconds delay) && {
  PG_CHECK(!ok()) << "only an error is retried";
  Rep rep = *rep_;
  rep.retry_after = delay;
  rep_ = std::make_shared<const Rep>(std::move(rep));
  return std::move(*this);
}

std::string Status::ToString() const {
  if (ok()) return "OK";
  return std::string(StatusCodeName(code())) + ": " + message();
}

Status InvalidField(std::string field, std::string value, std::string limit,
                    std::string_view problem) {
  std::string message = field + ": " + std::string(problem);
  if (!value.empty()) message += " (is " + value + (limit.empty() ? "" : ", limit " + limit) + ")";
  Status::Metadata metadata{{"field", std::move(field)}};
  if (!value.empty()) metadata.emplace_back("value", std::move(value));
  if (!limit.empty()) metadata.emplace_back("limit", std::move(limit));
  return Status(StatusCode::kInvalidArgument, Reason::kFieldInvalid, std::move(message),
                std::move(metadata));
}

Status InternalError(std::string message) {
  return Status(StatusCode::kInternal, Reason::kInternal, std::move(message));
}

Status OutOfMemory(std::string_view to) {
  return Status(StatusCode::kUnavailable, Reason::kServerOverloaded,
                std::string("no memory ").append(to))
      .WithRetryAfter(std::chrono::seconds(1));
}

}  // namespace paligemma
