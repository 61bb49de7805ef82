// SPDX-License-Identifier: Apache-2.0
#include "server/watchdog.h"

#include <algorithm>
#include <utility>

namespace paligemma {

Watchdog::~Watchdog() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  stopped_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Start() {
  thread_ = std::thread([this] { Loop(); });
}

bool Watchdog::Check() {
  const Progress progress = options_.progress();
  const bool stuck = progress.busy && options_.clock->Now() - progress.last > options_.timeout;
  const bool recovered = std::exchange(stuck_, stuck) && !stuck;
  if (stuck) options_.on_stuck();
  if (recovered) options_.on_recovered();
  if (!progress.busy && options_.on_idle) options_.on_idle();
  return stuck;
}

void Watchdog::Loop() {
  const Duration period = std::clamp<Duration>(options_.timeout / 4, std::chrono::milliseconds(1),
                                               std::chrono::seconds(1));
  for (;;) {
    {
      MutexLock lock(&mutex_);
      const TimePoint until = std::chrono::steady_clock::now() + period;
      while (!stopping_ && stopped_.WaitUntil(&mutex_, until)) {
      }
      if (stopping_) return;
    }
    Check();
  }
}

}  // namespace paligemma
