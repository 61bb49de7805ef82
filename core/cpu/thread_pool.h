// SPDX-License-Identifier: Apache-2.0
// Threads that share out the tiles of a kernel. Tiles are taken one by one, so a thread that the
// machine's other work holds back takes fewer of them and nobody waits at a barrier for its share.
//
// Between jobs the threads spin for some microseconds, since the next kernel of a step follows at
// once, and then sleep. Thread safety: one Run() at a time; a task must not call Run() itself.
#ifndef CORE_CPU_THREAD_POOL_H_
#define CORE_CPU_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "core/base/mutex.h"

namespace paligemma::cpu {

class ThreadPool {
 public:
  // `num_threads` counts the caller of Run(), who works too: 1 starts no thread.
  // REQUIRES: num_threads >= 1.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Calls task(i) once for each i in [0, num_tiles), in any order and on any of the threads, and
  // returns when all have returned. What the tasks wrote is then visible. `task` must not throw.
  template <typename Task>
  void Run(int num_tiles, const Task& task) {
    RunJob(num_tiles, &task,
           [](const void* context, int tile) { (*static_cast<const Task*>(context))(tile); });
  }

  int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

 private:
  // Lives on the stack of RunJob(), which outlasts every thread that joined it.
  struct Job {
    const void* context;
    void (*call)(const void* context, int tile);
    const int num_tiles;
    std::atomic<int> next_tile{0};

    void Work();
  };

  void RunJob(int num_tiles, const void* context, void (*call)(const void*, int));
  void Loop();

  // Counts the jobs; a thread that spins sees the next one here. Written under mutex_.
  std::atomic<std::uint64_t> generation_{0};
  // Threads at work on job_ other than the caller. Written under mutex_.
  std::atomic<int> num_active_{0};

  Mutex mutex_;
  Job* job_ PG_GUARDED_BY(mutex_) = nullptr;  // null: none that a thread may still join
  int num_sleeping_ PG_GUARDED_BY(mutex_) = 0;
  bool caller_sleeps_ PG_GUARDED_BY(mutex_) = false;
  bool stopping_ PG_GUARDED_BY(mutex_) = false;
  CondVar job_or_stop_;
  CondVar all_left_;

  // Last: the threads use everything above.
  std::vector<std::thread> threads_;
};

}  // namespace paligemma::cpu

#endif  // CORE_CPU_THREAD_POOL_H_
