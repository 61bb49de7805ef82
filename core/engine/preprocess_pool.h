// SPDX-License-Identifier: Apache-2.0
// The threads that decode pictures and build prompts, and the queue before them.
#ifndef CORE_ENGINE_PREPROCESS_POOL_H_
#define CORE_ENGINE_PREPROCESS_POOL_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "core/base/heartbeat.h"
#include "core/base/mutex.h"
#include "core/base/types.h"

namespace paligemma {

// Thread safe.
class PreprocessPool {
 public:
  // Prepares one request; runs on a thread of the pool, with no lock held.
  using Work = std::function<void(RequestId)>;

  // Starts the threads. `heartbeats` may be null; it must outlive the pool.
  // REQUIRES: num_threads > 0.
  PreprocessPool(int num_threads, Work work, Heartbeats* heartbeats = nullptr);
  // Does what is queued, then joins the threads.
  ~PreprocessPool();
  PreprocessPool(const PreprocessPool&) = delete;
  PreprocessPool& operator=(const PreprocessPool&) = delete;

  // Queues a request. Requests are begun in this order.
  void Push(RequestId id) PG_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop() PG_LOCKS_EXCLUDED(mutex_);

  const Work work_;
  Heartbeats* const heartbeats_;
  Heartbeat queue_heartbeat_;  // of the requests that wait for a thread

  Mutex mutex_;
  CondVar changed_;
  std::deque<RequestId> queue_ PG_GUARDED_BY(mutex_);
  bool stopping_ PG_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;  // last: joined before what their loops use is destroyed
};

}  // namespace paligemma

#endif  // CORE_ENGINE_PREPROCESS_POOL_H_
