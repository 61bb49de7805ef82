// SPDX-License-Identifier: Apache-2.0
// The threads that decode pictures and build prompts, and the queue before them.
//
// A small picture must not wait for large ones: the queue is ordered by priority and by cost, and
// the last of several threads takes nothing that is large.
#ifndef CORE_ENGINE_PREPROCESS_POOL_H_
#define CORE_ENGINE_PREPROCESS_POOL_H_

#include <cstdint>
#include <functional>
#include <set>
#include <thread>
#include <tuple>
#include <vector>

#include "core/base/clock.h"
#include "core/base/heartbeat.h"
#include "core/base/mutex.h"
#include "core/base/types.h"
#include "core/request/request.h"

namespace paligemma {

// Thread safe.
class PreprocessPool {
 public:
  // A request with more pixels than these is large.
  static constexpr std::int64_t kMaxSmallPixels = 1'000'000;
  // Prepares one request; runs on a thread of the pool, with no lock held.
  using Work = std::function<void(RequestId)>;

  struct Options {
    int num_threads = 2;
    // Decoded bytes of the requests that are being prepared. A request that needs more is prepared
    // alone.
    std::int64_t max_decoded_bytes = std::int64_t{1} << 30;
    Heartbeats* heartbeats = nullptr;  // may be null; must outlive the pool
  };

  struct Item {
    RequestId id = 0;
    Priority priority = Priority::kNormal;
    TimePoint arrival{};
    std::int64_t pixels = 0;         // of all its pictures
    std::int64_t decoded_bytes = 0;  // of its largest picture while it is decoded
    Duration cost{};                 // estimated time of the work
  };

  // Starts the threads. REQUIRES: num_threads > 0.
  PreprocessPool(const Options& options, Work work);
  // Prepares the queued requests, then joins the threads.
  ~PreprocessPool();
  PreprocessPool(const PreprocessPool&) = delete;
  PreprocessPool& operator=(const PreprocessPool&) = delete;

  // Queues a request. A higher priority comes first. Within one priority the order is that of
  // arrival + kPatience * cost: cheap requests pass costly ones, but none waits for ever.
  void Push(const Item& item) PG_LOCKS_EXCLUDED(mutex_);
  static constexpr int kPatience = 8;

 private:
  struct Before {
    bool operator()(const Item& a, const Item& b) const { return RankOf(a) < RankOf(b); }
  };
  using Queue = std::set<Item, Before>;

  static std::tuple<int, TimePoint, RequestId> RankOf(const Item& item);
  void Loop(bool takes_large) PG_LOCKS_EXCLUDED(mutex_);
  static bool IsSmall(const Item& item) { return item.pixels <= kMaxSmallPixels; }
  // Returns the first item that a thread may begin now, or end().
  Queue::iterator Next(bool takes_large) PG_REQUIRES(mutex_);

  const Options options_;
  const Work work_;
  Heartbeat queue_heartbeat_;  // of the requests that wait for a thread

  Mutex mutex_;
  CondVar changed_;
  Queue queue_ PG_GUARDED_BY(mutex_);
  std::int64_t decoded_bytes_ PG_GUARDED_BY(mutex_) = 0;  // of what is being prepared
  bool stopping_ PG_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;  // last: joined before what their loops use is destroyed
};

}  // namespace paligemma

#endif  // CORE_ENGINE_PREPROCESS_POOL_H_
