// SPDX-License-Identifier: Apache-2.0
// Keeps the book of requests that wait for their first token, and decides whether one more may
// wait. The book has no thread and no clock, so that tests can cause every refusal without them.
#ifndef CORE_ENGINE_ADMISSION_H_
#define CORE_ENGINE_ADMISSION_H_

#include <array>
#include <cstdint>
#include <string>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/engine/load_estimator.h"
#include "core/request/request.h"

namespace paligemma {

struct AdmissionOptions {
  // Requests between Submit and their first token; more are refused with SERVER_OVERLOADED. This
  // and the next two limits hold for normal requests: low ones get a quarter less, high ones a
  // quarter more.
  int max_queued = 256;
  // The same in estimated prefill tokens, and in bytes of images and text. 0: no bound. A request
  // that waits alone is never refused by these two.
  std::int64_t max_queued_tokens = 0;
  std::int64_t max_queued_bytes = std::int64_t{1} << 30;
  int tokens_per_image = 0;  // for that estimate
  int num_decoders = 1;      // threads that decode large pictures
};

// Not thread safe; the dispatcher's lock guards it.
class Admission {
 public:
  // A request's share of the queue.
  struct Share {
    PrefixWork prefix;
    std::int64_t bytes = 0;
    std::int64_t pixels = 0;  // of its pictures, until they are decoded
    Priority priority = Priority::kNormal;
  };

  // `load` must outlive the book. REQUIRES: max_queued > 0.
  Admission(const AdmissionOptions& options, const LoadEstimator* load);

  // `pixels` counts those of all pictures of the request.
  Share ShareOf(const Request& request, std::int64_t pixels) const;

  // Returns OK if the queue has room and the answer can be ready before the deadline. Returns
  // DEADLINE_EXCEEDED if the deadline has passed or the measured speed cannot keep it. Returns
  // SERVER_OVERLOADED if the queue is full, or if only the requests in the queue make this one
  // late. `is_idle` says that no other request is in flight; then no speed leads to a refusal.
  Status Check(const Request& request, const Share& share, TimePoint now, bool is_idle) const;

  // Book that a request was admitted, that its pictures have been decoded, and that it got its
  // first token or ended.
  void Enter(const Share& share);
  void Decoded(Share* share);
  void Leave(const Share& share);

  int num_queued() const { return num_queued_; }

 private:
  static constexpr std::size_t kNumPriorities = 3;

  Status CheckQueue(const Share& share) const;
  Status CheckSpeed(const Request& request, const Share& share, Duration left) const;
  // Returns how long the waiting requests that go first will take.
  Duration TimeAhead(const Share& share) const;
  Status Overloaded(const std::string& what) const;

  const AdmissionOptions options_;
  const LoadEstimator* const load_;
  int num_queued_ = 0;
  std::array<PrefixWork, kNumPriorities> queued_;  // by priority
  std::array<std::int64_t, kNumPriorities> queued_pixels_{};
  std::int64_t queued_bytes_ = 0;
};

}  // namespace paligemma

#endif  // CORE_ENGINE_ADMISSION_H_
