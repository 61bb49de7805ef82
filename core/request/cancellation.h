// SPDX-License-Identifier: Apache-2.0
// Says that a request is no longer wanted. The part that ends the request sets it, and each stage
// on the request's way looks at it before it begins costly work.
#ifndef CORE_REQUEST_CANCELLATION_H_
#define CORE_REQUEST_CANCELLATION_H_

#include <atomic>
#include <functional>

#include "core/base/status.h"

namespace paligemma {

// Thread safe; shared by the stages of one request.
class Cancellation {
 public:
  enum class Cause {
    kNone,
    kClient,    // the client cancelled the call, or went away
    kDraining,  // the server is going away
  };

  // The last cause set counts. REQUIRES: not kNone.
  void Set(Cause cause) { cause_.store(cause); }
  Cause cause() const { return cause_.load(); }

 private:
  std::atomic<Cause> cause_{Cause::kNone};
};

// Says whether to go on: returns an error once the request was cancelled or its deadline passed.
// Thread safe.
using InterruptCheck = std::function<Status()>;

}  // namespace paligemma

#endif  // CORE_REQUEST_CANCELLATION_H_
