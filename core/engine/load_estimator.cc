// SPDX-License-Identifier: Apache-2.0
#include "core/engine/load_estimator.h"

#include <algorithm>

namespace paligemma {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMinRetry{20}, kMaxRetry{60'000};
constexpr std::int64_t kMinTimedPixels = 40'000;
constexpr milliseconds kFirstRetry{500};  // before a request has ended

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

Duration FromSeconds(double seconds) {
  return std::chrono::round<Duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

void LoadEstimator::OnStep(const StepStats& stats) {
  {
    MutexLock lock(&mutex_);
    if (stats.prefill && stats.num_tokens > 0) {
      prefill_token_.Add(Seconds(stats.model) / stats.num_tokens);
      if (stats.num_images > 0) image_.Add(Seconds(stats.vision) / stats.num_images);
    } else if (!stats.prefill) {
      decode_step_.Add(Seconds(stats.model));
    }
  }
  if (next_ != nullptr) next_->OnStep(stats);
}

void LoadEstimator::OnPreemptions(int count) {
  if (next_ != nullptr) next_->OnPreemptions(count);
}

void LoadEstimator::OnRequestEnded(TimePoint now, bool more) {
  MutexLock lock(&mutex_);
  if (last_end_ != TimePoint()) request_.Add(Seconds(now - last_end_));
  last_end_ = more ? now : TimePoint();
}

void LoadEstimator::OnPrepared(std::int64_t pixels, Duration duration) {
  // The time of a small picture is mostly the time of other work.
  if (pixels < kMinTimedPixels) return;
  MutexLock lock(&mutex_);
  pixel_.Add(Seconds(duration) / static_cast<double>(pixels));
}

Duration LoadEstimator::PictureTime(std::int64_t pixels) const {
  MutexLock lock(&mutex_);
  return FromSeconds(static_cast<double>(pixels) * pixel_.value());
}

Duration LoadEstimator::PrefixTime(const PrefixWork& work) const {
  MutexLock lock(&mutex_);
  return FromSeconds(static_cast<double>(work.tokens) * prefill_token_.value() +
                     static_cast<double>(work.images) * image_.value());
}

Duration LoadEstimator::DecodeTime(int num_steps) const {
  MutexLock lock(&mutex_);
  return FromSeconds(num_steps * decode_step_.value());
}

milliseconds LoadEstimator::RetryDelay(int num_queued) const {
  MutexLock lock(&mutex_);
  if (!request_.seen()) return kFirstRetry;
  const double seconds = std::max(1, num_queued) * request_.value();
  if (seconds >= Seconds(kMaxRetry)) return kMaxRetry;
  return std::max(kMinRetry, std::chrono::duration_cast<milliseconds>(FromSeconds(seconds)));
}

}  // namespace paligemma
