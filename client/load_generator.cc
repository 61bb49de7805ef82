// SPDX-License-Identifier: Apache-2.0
#include "client/load_generator.h"

#include <random>
#include <thread>

#include "core/base/mutex.h"

namespace paligemma::client {
namespace {

class MachineTimer final : public LoadTimer {
 public:
  TimePoint Now() const override { return Clock::Real()->Now(); }
  void SleepUntil(TimePoint when) override { std::this_thread::sleep_until(when); }
};

class Generator {
 public:
  Generator(const LoadOptions& options, LoadTimer* timer,
            const std::function<CallOutcome(size_t)>& call)
      : options_(options),
        timer_(timer),
        call_(call),
        start_(timer->Now()),
        end_(start_ + options.warmup + options.duration),
        next_due_(start_),
        random_(options.seed),
        gap_(options.rate > 0 ? options.rate : 1),
        kind_(options.weights.begin(), options.weights.end()) {}

  LoadResult Run() PG_LOCKS_EXCLUDED(mutex_) {
    std::vector<std::thread> workers;
    for (int i = 0; i < options_.workers; ++i) workers.emplace_back([this] { Work(); });
    for (std::thread& worker : workers) worker.join();
    MutexLock lock(&mutex_);
    return {start_ + options_.warmup, end_, std::move(samples_)};
  }

 private:
  struct Turn {
    TimePoint due;
    size_t kind;
  };

  void Work() {
    for (Turn turn = NextTurn(); turn.due < end_; turn = NextTurn()) {
      timer_->SleepUntil(turn.due);
      LoadSample sample;
      sample.due = turn.due;
      sample.sent = timer_->Now();
      sample.outcome = call_(turn.kind);
      sample.done = timer_->Now();
      MutexLock lock(&mutex_);
      samples_.push_back(std::move(sample));
    }
  }

  Turn NextTurn() PG_LOCKS_EXCLUDED(mutex_) {
    MutexLock lock(&mutex_);
    const size_t kind = kind_(random_);
    if (options_.rate <= 0) return {timer_->Now(), kind};
    next_due_ += std::chrono::duration_cast<Duration>(std::chrono::duration<double>(gap_(random_)));
    return {next_due_, kind};
  }

  const LoadOptions& options_;
  LoadTimer* const timer_;
  const std::function<CallOutcome(size_t)>& call_;
  const TimePoint start_, end_;
  Mutex mutex_;
  TimePoint next_due_ PG_GUARDED_BY(mutex_);
  std::mt19937_64 random_ PG_GUARDED_BY(mutex_);
  std::exponential_distribution<double> gap_ PG_GUARDED_BY(mutex_);
  std::discrete_distribution<size_t> kind_ PG_GUARDED_BY(mutex_);
  std::vector<LoadSample> samples_ PG_GUARDED_BY(mutex_);
};

}  // namespace

LoadTimer* LoadTimer::OfMachine() {
  static MachineTimer* const timer = new MachineTimer;
  return timer;
}

LoadResult GenerateLoad(const LoadOptions& options, LoadTimer* timer,
                        const std::function<CallOutcome(size_t kind)>& call) {
  return Generator(options, timer, call).Run();
}

}  // namespace paligemma::client
