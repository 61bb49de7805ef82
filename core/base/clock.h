// SPDX-License-Identifier: Apache-2.0
// Time as a dependency, so that tests drive it by hand. Thread safe.
#ifndef CORE_BASE_CLOCK_H_
#define CORE_BASE_CLOCK_H_

#include <chrono>

namespace paligemma {

using TimePoint = std::chrono::steady_clock::time_point;
using Duration = std::chrono::steady_clock::duration;

inline constexpr TimePoint kNoDeadline = TimePoint::max();

class Clock {
 public:
  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;

  // Returns the machine's monotonic clock, which lives as long as the process.
  static const Clock* Real();
};

}  // namespace paligemma

#endif  // CORE_BASE_CLOCK_H_
