// SPDX-License-Identifier: Apache-2.0
// How a request ends that was cancelled or came too late: the same words and reason in whichever
// stage it happened. Thread safe.
#ifndef CORE_REQUEST_ENDINGS_H_
#define CORE_REQUEST_ENDINGS_H_

#include <string>
#include <string_view>

#include "core/base/status.h"

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

}  // namespace paligemma

#endif  // CORE_REQUEST_ENDINGS_H_
