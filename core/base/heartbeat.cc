// SPDX-License-Identifier: Apache-2.0
#include "core/base/heartbeat.h"

#include <utility>

namespace paligemma {

void Heartbeats::Ask() {
  MutexLock lock(&mutex_);
  for (Heartbeat* const heartbeat : all_) {
    if (!heartbeat->options_.ask || heartbeat->since_.load() != Heartbeat::kResting) continue;
    heartbeat->Expect();
    heartbeat->options_.ask();
  }
}

std::vector<Heartbeats::Late> Heartbeats::Overdue(Duration timeout) const {
  std::vector<Late> late;
  MutexLock lock(&mutex_);
  const Duration::rep now = clock_->Now().time_since_epoch().count();
  for (const Heartbeat* const heartbeat : all_) {
    const Duration::rep since = heartbeat->since_.load(std::memory_order_relaxed);
    if (since == Heartbeat::kResting || now - since <= timeout.count()) continue;
    late.push_back({heartbeat->name_, Duration(now - since), heartbeat->options_.essential});
  }
  return late;
}

Heartbeat::Heartbeat(Heartbeats* registry, std::string name, Options options)
    : registry_(registry), name_(std::move(name)), options_(std::move(options)) {
  if (registry_ == nullptr) return;
  MutexLock lock(&registry_->mutex_);
  registry_->all_.push_back(this);
}

void Heartbeat::Withdraw() {
  if (registry_ == nullptr) return;
  MutexLock lock(&registry_->mutex_);
  std::erase(registry_->all_, this);
}

void Heartbeat::Expect() {
  if (registry_ == nullptr) return;
  Duration::rep resting = kResting;
  since_.compare_exchange_strong(resting, Now(), std::memory_order_relaxed);
}

void Heartbeat::Beat() {
  if (registry_ == nullptr) return;
  Duration::rep since = since_.load(std::memory_order_relaxed);
  const Duration::rep now = Now();
  // A Rest() meanwhile wins.
  while (since != kResting && !since_.compare_exchange_weak(since, now)) {
  }
}

}  // namespace paligemma
