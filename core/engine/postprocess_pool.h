// SPDX-License-Identifier: Apache-2.0
// A few threads for work that is too slow for the delivery thread. Each request's work is a lane of
// its own: lanes take turns, so that one request with many masks does not hold up the others.
#ifndef CORE_ENGINE_POSTPROCESS_POOL_H_
#define CORE_ENGINE_POSTPROCESS_POOL_H_

#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/heartbeat.h"
#include "core/base/mutex.h"

namespace paligemma {

// Thread safe.
class PostprocessPool {
 public:
  class Lane {
   public:
    virtual ~Lane() = default;
    // Does one piece of work, a second at most. Returns true if more work waits; the lane is then
    // run again after the others. Never runs on two threads at once.
    virtual bool RunTurn() = 0;
  };

  // Starts the threads. `heartbeats` may be null; it must outlive the pool.
  // REQUIRES: num_threads > 0.
  explicit PostprocessPool(int num_threads, Heartbeats* heartbeats = nullptr);
  // Runs every scheduled lane to its end, then joins the threads.
  ~PostprocessPool();
  PostprocessPool(const PostprocessPool&) = delete;
  PostprocessPool& operator=(const PostprocessPool&) = delete;

  // Runs the lane's turns until it has no more work. REQUIRES: the lane is not scheduled already.
  void Schedule(std::shared_ptr<Lane> lane) PG_LOCKS_EXCLUDED(mutex_);

 private:
  void Loop() PG_LOCKS_EXCLUDED(mutex_);

  Heartbeats* const heartbeats_;
  Heartbeat queue_heartbeat_;  // of the lanes that wait for a thread

  Mutex mutex_;
  CondVar work_;
  std::deque<std::shared_ptr<Lane>> lanes_ PG_GUARDED_BY(mutex_);  // in the order of their turns
  bool stopping_ PG_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;  // last: joined before what their loops use is destroyed
};

}  // namespace paligemma

#endif  // CORE_ENGINE_POSTPROCESS_POOL_H_
