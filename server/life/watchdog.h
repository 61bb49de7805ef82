// SPDX-License-Identifier: Apache-2.0
// Notices threads that have work and make no progress: a kernel that hangs, a device that is gone,
// a lock that is never released.
#ifndef SERVER_LIFE_WATCHDOG_H_
#define SERVER_LIFE_WATCHDOG_H_

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.h"
#include "core/base/heartbeat.h"
#include "core/base/mutex.h"

namespace paligemma {

// Describes threads that are late, a line for each: "pg-engine: no progress for 61s".
std::string Describe(const std::vector<Heartbeats::Late>& late);

// Returns true if calls can be answered although these threads are late.
bool IsLive(const std::vector<Heartbeats::Late>& late);

// Thread safe.
class Watchdog {
 public:
  struct Options {
    Duration timeout{};                // how long a thread with work may make no progress
    Heartbeats* heartbeats = nullptr;  // must outlive the watchdog
    // Called by each look that finds an essential thread late, with all late threads.
    std::function<void(const std::vector<Heartbeats::Late>&)> on_stuck;
    // Called by the first look that finds none late any more.
    std::function<void()> on_recovered;
    // Called by each look while is_idle() returns true; both may be empty.
    std::function<bool()> is_idle;
    std::function<void()> on_idle;
  };

  explicit Watchdog(Options options) : options_(std::move(options)) {}
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Looks four times within a timeout and at least every second, on a thread of its own. That
  // thread has a heartbeat too, for callers that read the registry themselves.
  void Start();

  // Looks once, from one thread at a time. Returns true if an essential thread is late.
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

#endif  // SERVER_LIFE_WATCHDOG_H_
