// SPDX-License-Identifier: Apache-2.0
// Measures the speed of this server by its steps, and estimates the time of a request that comes
// now.
//
// Estimates are low: each is the time of a request that nothing hinders. They are zero until
// something has been measured. Thread safe.
#ifndef CORE_ENGINE_LOAD_ESTIMATOR_H_
#define CORE_ENGINE_LOAD_ESTIMATOR_H_

#include <chrono>
#include <cstdint>

#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/request/engine_observer.h"

namespace paligemma {

// The model's work before a first token.
struct PrefixWork {
  std::int64_t tokens = 0;  // of prompts, pictures included
  std::int64_t images = 0;
};

class LoadEstimator final : public EngineObserver {
 public:
  // Passes every call on to `next`, which may be null and must outlive this.
  explicit LoadEstimator(EngineObserver* next) : next_(next) {}

  void OnStep(const StepStats& stats) override PG_LOCKS_EXCLUDED(mutex_);
  void OnPreemptions(int count) override;

  // Books that a request has ended. `more` says that others are in flight, so that the time until
  // the next end measures the completion rate.
  void OnRequestEnded(TimePoint now, bool more) PG_LOCKS_EXCLUDED(mutex_);

  // Books that a thread has prepared a request whose pictures have so many pixels.
  void OnPrepared(std::int64_t pixels, Duration duration) PG_LOCKS_EXCLUDED(mutex_);

  // Returns the time that a thread needs to decode and resize so many pixels.
  Duration PictureTime(std::int64_t pixels) const PG_LOCKS_EXCLUDED(mutex_);
  // Returns the time to encode and prefill so much work.
  Duration PrefixTime(const PrefixWork& work) const PG_LOCKS_EXCLUDED(mutex_);
  // Returns the time of so many decode steps, one after the other.
  Duration DecodeTime(int num_steps) const PG_LOCKS_EXCLUDED(mutex_);
  // Returns the retry delay to suggest when `num_queued` requests are ahead: num_queued divided by
  // the recent completion rate.
  std::chrono::milliseconds RetryDelay(int num_queued) const PG_LOCKS_EXCLUDED(mutex_);

 private:
  // A mean in which older samples fade.
  class Mean {
   public:
    void Add(double sample) {
      value_ = seen_ ? value_ + (sample - value_) / 8 : sample;
      seen_ = true;
    }
    bool seen() const { return seen_; }
    double value() const { return value_; }  // zero while nothing was seen

   private:
    double value_ = 0;
    bool seen_ = false;
  };

  EngineObserver* const next_;
  mutable Mutex mutex_;
  // In seconds. The mean of an image includes images that the cache had.
  Mean image_ PG_GUARDED_BY(mutex_), prefill_token_ PG_GUARDED_BY(mutex_);
  Mean decode_step_ PG_GUARDED_BY(mutex_), request_ PG_GUARDED_BY(mutex_);
  Mean pixel_ PG_GUARDED_BY(mutex_);
  TimePoint last_end_ PG_GUARDED_BY(mutex_){};  // zero: the server was idle after it
};

}  // namespace paligemma

#endif  // CORE_ENGINE_LOAD_ESTIMATOR_H_
