// SPDX-License-Identifier: Apache-2.0
// Waits until the engine has nothing in flight: with look-ahead, a sequence that ended keeps its
// blocks until the step that was started meanwhile is committed.
#ifndef TESTS_TESTING_AWAIT_IDLE_H_
#define TESTS_TESTING_AWAIT_IDLE_H_

#include <thread>

#include "core/engine/dispatcher.h"

namespace paligemma {

inline void AwaitIdle(const Dispatcher& dispatcher) {
  while (dispatcher.Stats().engine.busy) std::this_thread::yield();
}

}  // namespace paligemma

#endif  // TESTS_TESTING_AWAIT_IDLE_H_
