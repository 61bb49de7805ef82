// SPDX-License-Identifier: Apache-2.0
#include "core/engine/admission.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/base/check.h"
#include "core/engine/preprocess_pool.h"
#include "core/request/endings.h"

namespace paligemma {
namespace {

constexpr std::int64_t kBytesPerToken = 4;  // of text, for the estimate

std::int64_t TextBytes(const Request& request) {
  auto bytes = static_cast<std::int64_t>(request.text.size());
  for (const std::string& label : request.labels) bytes += static_cast<std::int64_t>(label.size());
  return bytes;
}

// Returns a priority's share of a limit: a quarter less for those that are refused first, a quarter
// more for those that are refused last.
std::int64_t BoundFor(Priority priority, std::int64_t limit) {
  switch (priority) {
    case Priority::kLow:
      return std::max<std::int64_t>(1, limit - limit / 4);
    case Priority::kNormal:
      return limit;
    case Priority::kHigh:
      return limit + std::max<std::int64_t>(1, limit / 4);
  }
  return limit;
}

}  // namespace

Admission::Admission(const AdmissionOptions& options, const LoadEstimator* load)
    : options_(options), load_(load) {
  PG_CHECK(options.max_queued > 0) << "limits must be positive";
}

Admission::Share Admission::ShareOf(const Request& request, std::int64_t pixels) const {
  const std::int64_t text = TextBytes(request);
  const std::int64_t num_images = std::ssize(request.images);
  const std::int64_t num_prompts =
      request.separate_labels ? std::max<std::int64_t>(1, std::ssize(request.labels)) : 1;
  const std::int64_t prefix = num_images * options_.tokens_per_image + text / kBytesPerToken + 1;
  Share share;
  share.priority = request.priority;
  share.prefix.tokens = num_prompts * request.num_candidates * prefix;
  share.prefix.images = num_images;
  share.bytes = text;
  share.pixels = pixels;
  for (const ImageInput& image : request.images) {
    share.bytes += static_cast<std::int64_t>(image.encoded.size() + image.raw.data.size());
  }
  return share;
}

Status Admission::Check(const Request& request, const Share& share, TimePoint now,
                        bool is_idle) const {
  const TimePoint first_token_by = std::min(request.deadline, request.time_budget);
  if (first_token_by <= now) return DeadlineStatus("admission");
  PG_RETURN_IF_ERROR(CheckQueue(share));
  if (first_token_by == kNoDeadline || is_idle) return OkStatus();
  return CheckSpeed(request, share, first_token_by - now);
}

void Admission::Enter(const Share& share) {
  ++num_queued_;
  PrefixWork& queued = queued_[static_cast<std::size_t>(share.priority)];
  queued.tokens += share.prefix.tokens;
  queued.images += share.prefix.images;
  queued_pixels_[static_cast<std::size_t>(share.priority)] += share.pixels;
  queued_bytes_ += share.bytes;
}

void Admission::Decoded(Share* share) {
  queued_pixels_[static_cast<std::size_t>(share->priority)] -= std::exchange(share->pixels, 0);
}

void Admission::Leave(const Share& share) {
  --num_queued_;
  PrefixWork& queued = queued_[static_cast<std::size_t>(share.priority)];
  queued.tokens -= share.prefix.tokens;
  queued.images -= share.prefix.images;
  queued_pixels_[static_cast<std::size_t>(share.priority)] -= share.pixels;
  queued_bytes_ -= share.bytes;
}

Status Admission::CheckQueue(const Share& share) const {
  const auto bound = [&share](std::int64_t limit) { return BoundFor(share.priority, limit); };
  if (num_queued_ >= bound(options_.max_queued)) {
    return Overloaded(std::to_string(num_queued_) + " requests wait");
  }
  if (num_queued_ == 0) return OkStatus();
  std::int64_t tokens = 0;
  for (const PrefixWork& work : queued_) tokens += work.tokens;
  if (options_.max_queued_tokens > 0 &&
      tokens + share.prefix.tokens > bound(options_.max_queued_tokens)) {
    return Overloaded(std::to_string(tokens) + " prompt tokens wait");
  }
  if (options_.max_queued_bytes > 0 &&
      queued_bytes_ + share.bytes > bound(options_.max_queued_bytes)) {
    return Overloaded(std::to_string(queued_bytes_) + " bytes wait");
  }
  return OkStatus();
}

Status Admission::CheckSpeed(const Request& request, const Share& share, Duration left) const {
  Duration own = load_->PictureTime(share.pixels) + load_->PrefixTime(share.prefix);
  // With a time budget, what is complete by then is an answer.
  if (request.deadline <= request.time_budget) {
    const SamplingParams& sampling = request.sampling;
    const int tokens = sampling.ignore_eos ? request.max_tokens.value_or(0) : sampling.min_tokens;
    own += load_->DecodeTime(std::max(0, tokens - 1));
  }
  if (own > left) return DeadlineStatus("admission");
  if (own + TimeAhead(share) > left) {
    return Overloaded("the deadline would pass before the answer to this request");
  }
  return OkStatus();
}

// Decoding and the model work side by side, so that the slower one decides.
Duration Admission::TimeAhead(const Share& share) const {
  PrefixWork ahead;
  std::int64_t pixels = 0;
  for (auto i = static_cast<std::size_t>(share.priority); i < kNumPriorities; ++i) {
    ahead.tokens += queued_[i].tokens;
    ahead.images += queued_[i].images;
    pixels += queued_pixels_[i];
  }
  // A small picture passes the large ones.
  const bool waits_for_decoders = share.pixels > PreprocessPool::kMaxSmallPixels;
  const Duration decoding =
      waits_for_decoders ? load_->PictureTime(pixels) / options_.num_decoders : Duration::zero();
  return std::max(decoding, load_->PrefixTime(ahead));
}

Status Admission::Overloaded(const std::string& what) const {
  return Status(StatusCode::kUnavailable, Reason::kServerOverloaded,
                "the server is overloaded (" + what + "); try again later")
      .WithRetryAfter(load_->RetryDelay(num_queued_));
}

}  // namespace paligemma
