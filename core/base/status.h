// SPDX-License-Identifier: Apache-2.0
// Status says how an operation ended, with gRPC's codes. StatusOr<T> holds a value or an error.
//
// Core has a Status of its own because it knows neither gRPC nor Abseil. The server maps it to
// google.rpc.Status in one place (server/api/status_mapping.h). A Status that will reach a client
// carries a Reason of the public API and the metadata that the reason asks for
// (proto/paligemma/v1/error_reason.proto).
#ifndef CORE_BASE_STATUS_H_
#define CORE_BASE_STATUS_H_

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/check.h"

namespace paligemma {

// The values are gRPC's.
enum class StatusCode {
  kOk = 0,
  kCancelled = 1,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kUnauthenticated = 16,
};

// Returns the name as gRPC spells it: "INVALID_ARGUMENT".
std::string_view StatusCodeName(StatusCode code);

// The numbers of paligemma.v1.ErrorReason; kNone for errors that no client sees (start-up).
enum class Reason {
  kNone = 0,
  kFieldInvalid = 1,
  kImageMissing = 2,
  kImageFormatUnsupported = 3,
  kImageCorrupt = 4,
  kImageTooLarge = 5,
  kImageTooComplex = 6,
  kPromptTooLong = 7,
  kMethodUnsupported = 8,
  kLanguageUnsupported = 9,
  kModelNotFound = 10,
  kServerOverloaded = 11,
  kServerDraining = 12,
  kModelLoading = 13,
  kDeviceOutOfMemory = 14,
  kQuotaExceeded = 15,
  kSlowConsumer = 16,
  kResponseTooLarge = 17,
  kDeadlineExceeded = 18,
  kCancelled = 19,
  kCredentialsInvalid = 20,
  kPermissionDenied = 21,
  kNumericFault = 22,
  kInternal = 23,
};

class [[nodiscard]] Status {
 public:
  using Metadata = std::vector<std::pair<std::string, std::string>>;

  Status() = default;  // OK
  // REQUIRES: code != kOk.
  Status(StatusCode code, std::string message) : Status(code, Reason::kNone, std::move(message)) {}
  Status(StatusCode code, Reason reason, std::string message, Metadata metadata = {});

  bool ok() const { return rep_ == nullptr; }
  StatusCode code() const { return ok() ? StatusCode::kOk : rep_->code; }
  Reason reason() const { return ok() ? Reason::kNone : rep_->reason; }
  const std::string& message() const;
  const Metadata& metadata() const;

  // Returns how long a client should wait before it tries again, or zero if no delay was set.
  std::chrono::milliseconds retry_after() const {
    return ok() ? std::chrono::milliseconds(0) : rep_->retry_after;
  }
  Status WithRetryAfter(std::chrono::milliseconds delay) &&;

  // Returns "INVALID_ARGUMENT: message", or "OK".
  std::string ToString() const;

 private:
  struct Rep {
    StatusCode code;
    Reason reason;
    std::string message;
    Metadata metadata;
    std::chrono::milliseconds retry_after{0};
  };
  std::shared_ptr<const Rep> rep_;  // null: OK; immutable, so copies may cross threads
};

inline Status OkStatus() { return Status(); }

// Returns INVALID_ARGUMENT with FIELD_INVALID, the message "<field>: <problem>" and the metadata
// field, value and limit.
Status InvalidField(std::string field, std::string value, std::string limit,
                    std::string_view problem);
Status InternalError(std::string message);
// Returns UNAVAILABLE with SERVER_OVERLOADED and a second's retry delay: there was no memory `to`
// do something, such as "to decode an image".
Status OutOfMemory(std::string_view to);

template <typename T>
class [[nodiscard]] StatusOr {
 public:
  StatusOr(T value) : rep_(std::in_place_index<1>, std::move(value)) {}        // NOLINT
  StatusOr(Status status) : rep_(std::in_place_index<0>, std::move(status)) {  // NOLINT
    PG_CHECK(!std::get<0>(rep_).ok()) << "a StatusOr without a value needs an error";
  }

  bool ok() const { return rep_.index() == 1; }
  Status status() const { return ok() ? Status() : std::get<0>(rep_); }

  // REQUIRES: ok().
  T& value() & { return std::get<1>(rep_); }
  const T& value() const& { return std::get<1>(rep_); }
  T&& value() && { return std::get<1>(std::move(rep_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<Status, T> rep_;
};

#define PG_RETURN_IF_ERROR(expr)                    \
  do {                                              \
    if (auto pg_status = (expr); !pg_status.ok()) { \
      return pg_status;                             \
    }                                               \
  } while (false)

#define PG_CONCAT_INNER(a, b) a##b
#define PG_CONCAT(a, b) PG_CONCAT_INNER(a, b)
// PG_ASSIGN_OR_RETURN(auto x, F()) sets x to the value of F(), or returns its error.
#define PG_ASSIGN_OR_RETURN(lhs, expr)               \
  auto PG_CONCAT(pg_result_, __LINE__) = (expr);     \
  if (!PG_CONCAT(pg_result_, __LINE__).ok()) {       \
    return PG_CONCAT(pg_result_, __LINE__).status(); \
  }                                                  \
  lhs = std::move(PG_CONCAT(pg_result_, __LINE__)).value()

}  // namespace paligemma

#endif  // CORE_BASE_STATUS_H_
