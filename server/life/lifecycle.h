// SPDX-License-Identifier: Apache-2.0
// Tells whether the server takes calls now, and which phase of its life it is in.
#ifndef SERVER_LIFE_LIFECYCLE_H_
#define SERVER_LIFE_LIFECYCLE_H_

#include <atomic>

#include "core/base/status.h"
#include "core/request/endings.h"

namespace paligemma {

// In the order in which a server goes through them.
enum class Phase {
  kLoading,   // ports are bound, the model is not there
  kReady,     // serves
  kLeaving,   // probes say no, calls are still taken
  kDraining,  // new calls are refused, old ones finish
};

// Thread safe.
class Lifecycle {
 public:
  Phase phase() const { return phase_.load(std::memory_order_acquire); }

  // Advances to `phase` and never goes back, so that a server that drains does not become ready
  // when its model is loaded too late.
  void Advance(Phase phase) {
    Phase now = phase_.load();
    while (now < phase && !phase_.compare_exchange_weak(now, phase)) {
    }
  }

  // Sets whether a thread that serves is overdue. This may begin and end in any phase.
  void SetStalled(bool stalled) { stalled_.store(stalled, std::memory_order_release); }

  bool live() const { return !stalled_.load(std::memory_order_acquire); }
  bool ready() const { return live() && phase() == Phase::kReady; }

  // Returns OK, or why the server refuses a new call.
  Status Admit() const {
    if (!live()) return DrainingStatus();  // to be restarted: for a client that is the same
    switch (phase()) {
      case Phase::kLoading:
        return LoadingStatus();
      case Phase::kDraining:
        return DrainingStatus();
      case Phase::kReady:
      case Phase::kLeaving:
        break;
    }
    return OkStatus();
  }

 private:
  std::atomic<Phase> phase_{Phase::kLoading};
  std::atomic<bool> stalled_{false};
};

}  // namespace paligemma

#endif  // SERVER_LIFE_LIFECYCLE_H_
