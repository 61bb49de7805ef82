// SPDX-License-Identifier: Apache-2.0
// std::mutex with the annotations of clang's thread-safety analysis. A class declares its member
// `mutex_` directly above the fields that it guards, and marks each of them PG_GUARDED_BY(mutex_).
#ifndef CORE_BASE_MUTEX_H_
#define CORE_BASE_MUTEX_H_

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define PG_ATTRIBUTE(x) __attribute__((x))
#else
#define PG_ATTRIBUTE(x)
#endif

#define PG_CAPABILITY(x) PG_ATTRIBUTE(capability(x))
#define PG_SCOPED_CAPABILITY PG_ATTRIBUTE(scoped_lockable)
#define PG_GUARDED_BY(x) PG_ATTRIBUTE(guarded_by(x))
#define PG_REQUIRES(...) PG_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define PG_ACQUIRE(...) PG_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define PG_RELEASE(...) PG_ATTRIBUTE(release_capability(__VA_ARGS__))
#define PG_LOCKS_EXCLUDED(...) PG_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define PG_NO_THREAD_SAFETY_ANALYSIS PG_ATTRIBUTE(no_thread_safety_analysis)

namespace paligemma {

class PG_CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void Lock() PG_ACQUIRE() { mutex_.lock(); }
  void Unlock() PG_RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class PG_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex* mutex) PG_ACQUIRE(mutex) : mutex_(mutex) { mutex_->Lock(); }
  ~MutexLock() PG_RELEASE() { mutex_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mutex_;
};

// Callers wait in a loop that checks the condition, since wake-ups may be spurious.
class CondVar {
 public:
  void Wait(Mutex* mutex) PG_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // Returns false if `deadline` passed.
  bool WaitUntil(Mutex* mutex, std::chrono::steady_clock::time_point deadline) PG_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex->mutex_, std::adopt_lock);
    // Uses system_clock, since the ThreadSanitizer of clang 14 does not know
    // pthread_cond_clockwait. Waits a year at most, so that TimePoint::max() does not overflow.
    const auto remaining = std::min<std::chrono::steady_clock::duration>(
        deadline - std::chrono::steady_clock::now(), std::chrono::hours(24 * 365));
    const auto wall = std::chrono::system_clock::now() + remaining;
    const bool in_time = condition_.wait_until(lock, wall) == std::cv_status::no_timeout;
    lock.release();
    return in_time;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace paligemma

#endif  // CORE_BASE_MUTEX_H_
