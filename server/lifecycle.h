// SPDX-License-Identifier: Apache-2.0
// What the server can do for a client now.
#ifndef SERVER_LIFECYCLE_H_
#define SERVER_LIFECYCLE_H_

#include <atomic>

#include "core/base/status.h"
#include "server/status_mapping.h"

namespace paligemma {

enum class Phase {
  kLoading,   // ports are bound, the model is not there
  kReady,     // serves
  kLeaving,   // probes say no, calls are still taken
  kDraining,  // new calls are refused, old ones finish
  kFailed,    // a fatal fault; liveness fails
};

// Thread safe.
class Lifecycle {
 public:
  Phase phase() const { return phase_.load(std::memory_order_acquire); }
  void Set(Phase phase) { phase_.store(phase, std::memory_order_release); }

  bool ready() const { return phase() == Phase::kReady; }
  bool live() const { return phase() != Phase::kFailed; }

  // OK, or why a new call cannot be taken.
  Status Admit() const {
    switch (phase()) {
      case Phase::kLoading:
        return ModelLoadingError();
      case Phase::kDraining:
        return DrainingError();
      case Phase::kFailed:
        return InternalError("the server met a fatal fault and must be restarted");
      case Phase::kReady:
      case Phase::kLeaving:
        break;
    }
    return OkStatus();
  }

 private:
  std::atomic<Phase> phase_{Phase::kLoading};
};

}  // namespace paligemma

#endif  // SERVER_LIFECYCLE_H_
