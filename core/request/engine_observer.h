// SPDX-License-Identifier: Apache-2.0
// What the engine reports to core/metrics. The interface lies here, so that neither of the two
// layers knows the other.
#ifndef CORE_REQUEST_ENGINE_OBSERVER_H_
#define CORE_REQUEST_ENGINE_OBSERVER_H_

#include "core/base/clock.h"

namespace paligemma {

// One finished step.
struct StepStats {
  bool prefill = false;
  int num_rows = 0;
  int num_tokens = 0;
  int num_images = 0, num_cached_images = 0;
  Duration vision{}, model{};
};

// Called from the engine thread: must neither block nor allocate much. Thread safe.
class EngineObserver {
 public:
  virtual ~EngineObserver() = default;
  virtual void OnStep(const StepStats& /*stats*/) {}
  virtual void OnPreemptions(int /*count*/) {}
};

}  // namespace paligemma

#endif  // CORE_REQUEST_ENGINE_OBSERVER_H_
