// SPDX-License-Identifier: Apache-2.0
#include "server/life/watchdog.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "core/base/duration.h"

namespace paligemma {

std::string Describe(const std::vector<Heartbeats::Late>& late) {
  std::string text;
  for (const Heartbeats::Late& thread : late) {
    const auto silence = std::chrono::duration_cast<std::chrono::seconds>(thread.silence);
    text += thread.name + ": no progress for " + FormatDuration(silence) + "\n";
  }
  return text;
}

bool IsLive(const std::vector<Heartbeats::Late>& late) {
  return std::none_of(late.begin(), late.end(),
                      [](const auto& thread) { return thread.essential; });
}

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
  options_.heartbeats->Ask();
  const std::vector<Heartbeats::Late> late = options_.heartbeats->Overdue(options_.timeout);
  const bool stuck = !IsLive(late);
  const bool recovered = std::exchange(stuck_, stuck) && !stuck;
  if (stuck) options_.on_stuck(late);
  if (recovered) options_.on_recovered();
  if (options_.is_idle && options_.is_idle()) options_.on_idle();
  return stuck;
}

void Watchdog::Loop() {
  pthread_setname_np(pthread_self(), "pg-watchdog");
  Heartbeat heartbeat(options_.heartbeats, "pg-watchdog");
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
    heartbeat.Expect();
    heartbeat.Beat();
    Check();
  }
}

}  // namespace paligemma
