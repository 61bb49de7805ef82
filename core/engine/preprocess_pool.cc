// SPDX-License-Identifier: Apache-2.0
#include "core/engine/preprocess_pool.h"

#include <pthread.h>

#include <utility>

#include "core/base/check.h"

namespace paligemma {
namespace {

constexpr char kName[] = "pg-preprocess";

}  // namespace

PreprocessPool::PreprocessPool(int num_threads, Work work, Heartbeats* heartbeats)
    : work_(std::move(work)), heartbeats_(heartbeats), queue_heartbeat_(heartbeats, kName) {
  PG_CHECK(num_threads > 0) << "a pool without threads";
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Loop(); });
}

PreprocessPool::~PreprocessPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void PreprocessPool::Push(RequestId id) {
  {
    MutexLock lock(&mutex_);
    queue_.push_back(id);
    queue_heartbeat_.Expect();
  }
  changed_.NotifyOne();
}

void PreprocessPool::Loop() {
  pthread_setname_np(pthread_self(), kName);
  Heartbeat heartbeat(heartbeats_, kName);
  for (;;) {
    RequestId id = 0;
    {
      MutexLock lock(&mutex_);
      while (queue_.empty() && !stopping_) changed_.Wait(&mutex_);
      if (queue_.empty()) return;
      id = queue_.front();
      queue_.pop_front();
      queue_heartbeat_.Beat();
      if (queue_.empty()) queue_heartbeat_.Rest();
    }
    heartbeat.Expect();
    work_(id);
    heartbeat.Rest();
  }
}

}  // namespace paligemma
