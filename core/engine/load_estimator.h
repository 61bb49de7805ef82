// SPDX-License-Identifier: Apache-2.0
// How fast this server works, learnt from its steps, and what follows for a request that comes now.
//
// Estimates are low: what a request needs if nothing else hinders it. While nothing was measured
// they are zero. Thread safe.
#ifndef CORE_ENGINE_LOAD_ESTIMATOR_H_
#define CORE_ENGINE_LOAD_ESTIMATOR_H_

#include <chrono>
#include <cstdint>

#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/request/engine_observer.h"

namespace paligemma {

// What the model does before a first token.
struct PrefixWork {
  std::int64_t tokens = 0;  // of prompts, pictures included
  std::int64_t images = 0;
};

class LoadEstimator final : public EngineObserver {
 public:
  // Hands everything on to `next`, which may be null and must outlive this.
  explicit LoadEstimator(EngineObserver* next) : next_(next) {}

  void OnStep(const StepStats& stats) override PG_LOCKS_EXCLUDED(mutex_);
  void OnPreemptions(int count) override;

  // A request has ended; `more`: others are in flight, so that the time to the next end is the time
  // that one takes.
  void OnRequestEnded(TimePoint now, bool more) PG_LOCKS_EXCLUDED(mutex_);

  // A thread has prepared a request whose pictures have so many pixels.
  void OnPrepared(std::int64_t pixels, Duration duration) PG_LOCKS_EXCLUDED(mutex_);

  // Returns the time that a thread needs to decode and resize so many pixels.
  Duration PictureTime(std::int64_t pixels) const PG_LOCKS_EXCLUDED(mutex_);
  // Encoding and prefilling.
  Duration PrefixTime(const PrefixWork& work) const PG_LOCKS_EXCLUDED(mutex_);
  // One decode step after the other.
  Duration DecodeTime(int num_steps) const PG_LOCKS_EXCLUDED(mutex_);
  // How long a client should wait that found `num_queued` requests before it: as long as these take
  // at the rate at which requests ended lately.
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
  // In seconds. An image's is the mean over those too that the image cache had.
  Mean image_ PG_GUARDED_BY(mutex_), prefill_token_ PG_GUARDED_BY(mutex_);
  Mean decode_step_ PG_GUARDED_BY(mutex_), request_ PG_GUARDED_BY(mutex_);
  Mean pixel_ PG_GUARDED_BY(mutex_);
  TimePoint last_end_ PG_GUARDED_BY(mutex_){};  // zero: the server was idle after it
};

}  // namespace paligemma

#endif  // CORE_ENGINE_LOAD_ESTIMATOR_H_
