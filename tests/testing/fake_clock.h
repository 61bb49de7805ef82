// SPDX-License-Identifier: Apache-2.0
// A clock that stands still until a test moves it. Thread safe.
#ifndef TESTS_TESTING_FAKE_CLOCK_H_
#define TESTS_TESTING_FAKE_CLOCK_H_

#include <atomic>

#include "core/base/clock.h"

namespace paligemma {

class FakeClock final : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(Duration(ticks_.load())); }
  void Advance(Duration duration) { ticks_ += duration.count(); }

 private:
  // Not zero: a TimePoint of zero means "not set".
  std::atomic<Duration::rep> ticks_{Duration(std::chrono::hours(1)).count()};
};

}  // namespace paligemma

#endif  // TESTS_TESTING_FAKE_CLOCK_H_
