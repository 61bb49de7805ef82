// SPDX-License-Identifier: Apache-2.0
// Notices an engine that is busy and ends no step: a kernel that hangs, a device that is gone.
#ifndef SERVER_WATCHDOG_H_
#define SERVER_WATCHDOG_H_

#include <functional>
#include <thread>

#include "core/base/clock.h"
#include "core/base/mutex.h"

namespace paligemma {

// Thread safe.
class Watchdog {
 public:
  // What the engine says of itself.
  struct Progress {
    bool busy = false;
    TimePoint last{};  // when a step last ended, or there was nothing to do
  };
  struct Options {
    Duration timeout{};
    std::function<Progress()> progress;
    std::function<void()> on_stuck;      // by each look that finds it stuck
    std::function<void()> on_recovered;  // by the first that no longer does
    std::function<void()> on_idle;  // may be empty; called by each look that finds nothing to do
    const Clock* clock = Clock::Real();
  };

  explicit Watchdog(Options options) : options_(std::move(options)) {}
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Looks four times within a timeout and at least every second, on a thread of its own.
  void Start();

  // One look, from one thread at a time. True: the engine is stuck.
  bool Check();

 private:
  void Loop() PG_LOCKS_EXCLUDED(mutex_);

  const Options options_;
  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ PG_GUARDED_BY(mutex_) = false;
  bool stuck_ = false;  // at the last look
  std::thread thread_;
};

}  // namespace paligemma

#endif  // SERVER_WATCHDOG_H_
