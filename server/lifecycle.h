// SPDX-License-Identifier: Apache-2.0
// What the server can do for a client now.
#ifndef SERVER_LIFECYCLE_H_
#define SERVER_LIFECYCLE_H_

#include <atomic>

#include "core/base/status.h"
#include "server/status_mapping.h"

namespace paligemma {

// In the order in which a server goes through them.
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

  // Goes on to `phase`, never back: a model that is loaded too late makes no draining server ready.
  void Advance(Phase phase) {
    Phase now = phase_.load();
    while (now < phase && !phase_.compare_exchange_weak(now, phase)) {
    }
  }

  bool ready() const { return phase() == Phase::kReady; }
  bool live() const { return phase() != Phase::kFailed; }

  // OK, or why a new call cannot be taken.
  Status Admit() const {
    switch (phase()) {
      case Phase::kLoading:
        return ModelLoadingError();
      case Phase::kDraining:
      case Phase::kFailed:  // to be restarted: for a client that is the same
        return DrainingError();
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
