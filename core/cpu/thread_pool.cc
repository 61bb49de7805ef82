// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/thread_pool.h"

#include <pthread.h>

#include "core/base/check.h"

namespace paligemma::cpu {
namespace {

// About 20 us at 3 GHz: longer than what lies between two kernels of a step, shorter than what a
// neighbour on the machine would notice.
constexpr int kSpins = 1000;

// Tells the processor that this thread waits.
inline void Pause() {
#if defined(__aarch64__)
  asm volatile("yield");
#else
  __builtin_ia32_pause();
#endif
}

// Returns true once `condition` holds, false if it did not within a short while.
template <typename Condition>
bool SpinUntil(const Condition& condition) {
  for (int i = 0; i < kSpins; ++i) {
    if (condition()) {
      return true;
    }
    Pause();
  }
  return condition();
}

}  // namespace

ThreadPool::ThreadPool(int num_threads) {
  PG_CHECK(num_threads >= 1) << "a pool of " << num_threads << " threads";
  threads_.reserve(num_threads - 1);
  for (int i = 1; i < num_threads; ++i) {
    threads_.emplace_back([this] { Loop(); });
    ::pthread_setname_np(threads_.back().native_handle(), "pg-kernels");
  }
}

ThreadPool::~ThreadPool() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    job_or_stop_.NotifyAll();
  }
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

void ThreadPool::Job::Work() {
  for (int tile = next_tile.fetch_add(1, std::memory_order_relaxed); tile < num_tiles;
       tile = next_tile.fetch_add(1, std::memory_order_relaxed)) {
    call(context, tile);
  }
}

void ThreadPool::RunJob(int num_tiles, const void* context, void (*call)(const void*, int)) {
  Job job{context, call, num_tiles};
  if (threads_.empty() || num_tiles <= 1) {
    job.Work();
    return;
  }
  {
    MutexLock lock(&mutex_);
    job_ = &job;
    generation_.fetch_add(1, std::memory_order_release);
    if (num_sleeping_ > 0) {
      job_or_stop_.NotifyAll();
    }
  }
  job.Work();
  {
    // All tiles are taken: a thread that wakes only now need not join, and is not waited for.
    MutexLock lock(&mutex_);
    job_ = nullptr;
  }
  if (SpinUntil([this] { return num_active_.load(std::memory_order_acquire) == 0; })) {
    return;
  }
  MutexLock lock(&mutex_);
  caller_sleeps_ = true;
  while (num_active_.load(std::memory_order_relaxed) > 0) {
    all_left_.Wait(&mutex_);
  }
  caller_sleeps_ = false;
}

void ThreadPool::Loop() {
  std::uint64_t seen = 0;
  while (true) {
    SpinUntil([&] { return generation_.load(std::memory_order_acquire) != seen; });
    Job* job = nullptr;
    {
      MutexLock lock(&mutex_);
      ++num_sleeping_;
      while (!stopping_ && generation_.load(std::memory_order_relaxed) == seen) {
        job_or_stop_.Wait(&mutex_);
      }
      --num_sleeping_;
      if (stopping_) {
        return;
      }
      seen = generation_.load(std::memory_order_relaxed);
      job = job_;
      if (job == nullptr) {
        continue;
      }
      num_active_.fetch_add(1, std::memory_order_relaxed);
    }
    job->Work();
    MutexLock lock(&mutex_);
    if (num_active_.fetch_sub(1, std::memory_order_release) == 1 && caller_sleeps_) {
      all_left_.NotifyOne();
    }
  }
}

}  // namespace paligemma::cpu
