// SPDX-License-Identifier: Apache-2.0
// The statuses of requests that were cancelled, came too late or met a server that goes away. Words
// and reason are the same in every stage. Thread safe.
#ifndef CORE_REQUEST_ENDINGS_H_
#define CORE_REQUEST_ENDINGS_H_

#include <chrono>
#include <string>
#include <string_view>

#include "core/base/status.h"
#include "core/request/cancellation.h"

namespace paligemma {

// `phase` is the stage that the request was in, such as "queue", "prefill" or "decode".
inline Status CancelledStatus(std::string_view phase) {
  return Status(StatusCode::kCancelled, Reason::kCancelled, "the client cancelled the call",
                {{"phase", std::string(phase)}});
}

inline Status DeadlineStatus(std::string_view phase) {
  return Status(StatusCode::kDeadlineExceeded, Reason::kDeadlineExceeded,
                "the deadline passed before the answer was complete",
                {{"phase", std::string(phase)}});
}

inline Status TimeBudgetStatus(std::string_view phase) {
  return Status(StatusCode::kDeadlineExceeded, Reason::kDeadlineExceeded,
                "the time budget ended before the first token", {{"phase", std::string(phase)}});
}

// Ends a request because the process is about to stop; another server can answer it.
inline Status DrainingStatus() {
  return Status(StatusCode::kUnavailable, Reason::kServerDraining,
                "the server is going away; another one can answer at once");
}

// Refuses a request because the model's weights are still being loaded.
inline Status LoadingStatus() {
  return Status(StatusCode::kUnavailable, Reason::kModelLoading,
                "the model is still being loaded; try again")
      .WithRetryAfter(std::chrono::seconds(1));
}

// Returns OK unless the request was cancelled.
inline Status StatusOf(const Cancellation& cancellation, std::string_view phase) {
  switch (cancellation.cause()) {
    case Cancellation::Cause::kNone:
      break;
    case Cancellation::Cause::kClient:
      return CancelledStatus(phase);
    case Cancellation::Cause::kDraining:
      return DrainingStatus();
  }
  return OkStatus();
}

}  // namespace paligemma

#endif  // CORE_REQUEST_ENDINGS_H_
