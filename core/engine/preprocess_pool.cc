// SPDX-License-Identifier: Apache-2.0
#include "core/engine/preprocess_pool.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "core/base/check.h"

namespace paligemma {
namespace {

constexpr char kName[] = "pg-preprocess";

}  // namespace

PreprocessPool::PreprocessPool(const Options& options, Work work)
    : options_(options), work_(std::move(work)), queue_heartbeat_(options.heartbeats, kName) {
  PG_CHECK(options.num_threads > 0) << "a pool without threads";
  for (int i = 0; i < options.num_threads; ++i) {
    const bool takes_large = i == 0 || i + 1 < options.num_threads;
    threads_.emplace_back([this, takes_large] { Loop(takes_large); });
  }
}

PreprocessPool::~PreprocessPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

std::tuple<int, TimePoint, RequestId> PreprocessPool::RankOf(const Item& item) {
  return {-static_cast<int>(item.priority), item.arrival + kPatience * item.cost, item.id};
}

void PreprocessPool::Push(const Item& item) {
  {
    MutexLock lock(&mutex_);
    queue_.insert(item);
    queue_heartbeat_.Expect();
  }
  changed_.NotifyAll();
}

PreprocessPool::Queue::iterator PreprocessPool::Next(bool takes_large) {
  return std::find_if(queue_.begin(), queue_.end(), [&](const Item& item) PG_REQUIRES(mutex_) {
    return (takes_large || IsSmall(item)) &&
           (decoded_bytes_ == 0 ||
            decoded_bytes_ + item.decoded_bytes <= options_.max_decoded_bytes);
  });
}

void PreprocessPool::Loop(bool takes_large) {
  pthread_setname_np(pthread_self(), kName);
  Heartbeat heartbeat(options_.heartbeats, kName);
  for (;;) {
    Item item;
    {
      MutexLock lock(&mutex_);
      Queue::iterator next = Next(takes_large);
      while (next == queue_.end() && !(stopping_ && queue_.empty())) {
        changed_.Wait(&mutex_);
        next = Next(takes_large);
      }
      if (next == queue_.end()) return;
      item = *next;
      queue_.erase(next);
      decoded_bytes_ += item.decoded_bytes;
      queue_heartbeat_.Beat();
      if (queue_.empty()) queue_heartbeat_.Rest();
    }
    heartbeat.Expect();
    work_(item.id);
    heartbeat.Rest();
    {
      MutexLock lock(&mutex_);
      decoded_bytes_ -= item.decoded_bytes;
    }
    changed_.NotifyAll();
  }
}

}  // namespace paligemma
