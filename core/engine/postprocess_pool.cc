// SPDX-License-Identifier: Apache-2.0
#include "core/engine/postprocess_pool.h"

#include <pthread.h>

#include <utility>

namespace paligemma {

namespace {

constexpr char kName[] = "pg-postprocess";

}  // namespace

PostprocessPool::PostprocessPool(int num_threads, Heartbeats* heartbeats)
    : heartbeats_(heartbeats), queue_heartbeat_(heartbeats, kName) {
  for (int i = 0; i < num_threads; ++i) threads_.emplace_back([this] { Loop(); });
}

PostprocessPool::~PostprocessPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  work_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

void PostprocessPool::Schedule(std::shared_ptr<Lane> lane) {
  {
    MutexLock lock(&mutex_);
    lanes_.push_back(std::move(lane));
    queue_heartbeat_.Expect();
  }
  work_.NotifyOne();
}

void PostprocessPool::Loop() {
  pthread_setname_np(pthread_self(), kName);
  Heartbeat heartbeat(heartbeats_, kName);
  for (;;) {
    std::shared_ptr<Lane> lane;
    {
      MutexLock lock(&mutex_);
      while (lanes_.empty() && !stopping_) work_.Wait(&mutex_);
      if (lanes_.empty()) return;
      lane = std::move(lanes_.front());
      lanes_.pop_front();
      queue_heartbeat_.Beat();
      if (lanes_.empty()) queue_heartbeat_.Rest();
    }
    heartbeat.Expect();
    if (lane->RunTurn()) Schedule(std::move(lane));
    heartbeat.Rest();
  }
}

}  // namespace paligemma
