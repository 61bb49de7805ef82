// SPDX-License-Identifier: Apache-2.0
// Ends the work of a server that leaves: lets calls finish for a time, then ends them, and returns
// in bounded time whatever they do.
#ifndef SERVER_LIFE_DRAIN_H_
#define SERVER_LIFE_DRAIN_H_

#include <functional>
#include <optional>

#include "core/base/clock.h"
#include "core/base/duration.h"

namespace paligemma {

// Waits up to the given time for a signal. Returns true if one arrived.
using SignalWait = std::function<bool(Millis)>;

// The parts that a drain moves. Each must be safe to call while another one runs.
struct DrainParts {
  // Refuses new requests, waits for the accepted ones, and ends those that are left at the given
  // time. Returns true if none had to be ended.
  std::function<bool(TimePoint)> drain_engine;
  // Sends GOAWAY, waits up to the given time for the calls, then cancels them. Returns true if
  // every call ended by itself.
  std::function<bool(Millis)> shut_transport;
  std::function<void()> end_requests;  // ends all accepted requests at once
  std::function<void()> cancel_calls;  // cancels all calls at once
};

// The longest time that RunDrain() waits after its last deadline.
inline constexpr Millis kLastWords{700};

// Lets work finish for `patience`, then ends it. A signal ends it at once; without `patience` a
// signal has come already. Returns true if everything ended by itself. Otherwise threads that
// RunDrain() started may still call `parts`, so the process must end without destructors.
bool RunDrain(DrainParts parts, std::optional<Millis> patience, const SignalWait& signal);

}  // namespace paligemma

#endif  // SERVER_LIFE_DRAIN_H_
