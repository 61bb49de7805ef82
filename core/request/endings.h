// SPDX-License-Identifier: Apache-2.0
// How a request ends that was cancelled, came too late or met a server that goes away: the same
// words and reason in whichever stage that happened. Thread safe.
#ifndef CORE_REQUEST_ENDINGS_H_
#define CORE_REQUEST_ENDINGS_H_

#include <string>
#include <string_view>

#include "core/base/status.h"
#include "core/request/cancellation.h"

namespace paligemma {

// `phase`: the stage it was in, such as "queue", "prefill" or "decode".
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

// What ends a request when the process is to stop: another server can answer it.
inline Status DrainingStatus() {
  return Status(StatusCode::kUnavailable, Reason::kServerDraining,
                "the server is going away; another one can answer at once");
}

// Returns OK while nobody has ended the request.
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
