// SPDX-License-Identifier: Apache-2.0
#include "core/engine/dispatcher.h"

#include <pthread.h>

#include <algorithm>
#include <string>
#include <utility>

#include "core/base/check.h"
#include "core/engine/sequence_factory.h"
#include "core/request/endings.h"

namespace paligemma {
namespace {

constexpr std::chrono::milliseconds kRetryLoading{2000};
// How long the end of a drain waits for a step in progress.
constexpr std::chrono::seconds kAbortGrace{5};
constexpr std::int64_t kBytesPerToken = 4;  // of text, for the estimate

// Of a request that ended before its first token: but for its preprocessing it waited.
RequestResult Unanswered(TimePoint arrival, TimePoint now, Duration preprocess = {}) {
  RequestResult result;
  result.timing.preprocess = preprocess;
  result.timing.total = now - arrival;
  result.timing.queue = std::max(Duration::zero(), result.timing.total - preprocess);
  return result;
}

}  // namespace

Dispatcher::Dispatcher(const DispatcherOptions& options, EngineObserver* observer,
                       const Clock* clock)
    : options_(options), load_(observer), clock_(clock) {
  PG_CHECK(options.num_preprocess_threads > 0 && options.max_queued > 0)
      << "limits must be positive";
}

Dispatcher::~Dispatcher() {
  StopAdmission();
  EndAll();
  {
    // Once every request has ended, delivery has no reason left to call the engine.
    MutexLock lock(&mutex_);
    while (!entries_.empty()) ended_.Wait(&mutex_);
  }
  StopPreprocessing();
  engine_.reset();
  delivery_.reset();
}

void Dispatcher::Start(Parts parts) {
  preprocessor_ = std::move(parts.preprocessor);
  vocabulary_ = std::move(parts.vocabulary);
  mask_decoder_ = std::move(parts.mask_decoder);
  Delivery::Hooks hooks;
  hooks.cancel = [this](SequenceId id) { engine_->Cancel(id); };
  hooks.finish = [this](SequenceId id, FinishReason reason) { engine_->Finish(id, reason); };
  hooks.on_first_token = [this](RequestId id) { OnFirstToken(id); };
  hooks.retry_delay = [this] { return load_.RetryDelay(Stats().queued); };
  hooks.on_ended = [this](RequestId id) { OnEnded(id); };
  Delivery::Options delivery;
  delivery.mask_decoder = mask_decoder_.get();
  delivery.max_mask_pixels = options_.max_mask_pixels;
  delivery.num_postprocess_threads = options_.num_postprocess_threads;
  delivery_ = std::make_unique<Delivery>(delivery, std::move(hooks), clock_);
  engine_ = std::make_unique<Engine>(options_.scheduler, std::move(parts.runner), delivery_.get(),
                                     &load_, clock_);
  for (int i = 0; i < options_.num_preprocess_threads; ++i) {
    threads_.emplace_back([this] { PreprocessLoop(); });
  }
  MutexLock lock(&mutex_);
  PG_CHECK(!started_) << "Start() was called twice";
  started_ = true;
}

StatusOr<RequestId> Dispatcher::Submit(Request request, std::shared_ptr<ResponseSink> sink) {
  const Cost cost = Estimate(request);
  RequestId id = 0;
  {
    MutexLock lock(&mutex_);
    PG_RETURN_IF_ERROR(CheckAdmission(cost, request));
    id = next_request_++;
    if (request.arrival == TimePoint{}) request.arrival = clock_->Now();
    Entry& entry = entries_[id];
    entry.priority = request.priority;
    entry.request = std::move(request);
    entry.sink = std::move(sink);
    entry.cost = cost;
    ++num_queued_;
    PrefixWork& queued = queued_[static_cast<int>(entry.priority)];
    queued.tokens += cost.prefix.tokens;
    queued.images += cost.prefix.images;
    queued_bytes_ += cost.bytes;
    queue_.push_back(id);
  }
  work_.NotifyOne();
  return id;
}

Dispatcher::Cost Dispatcher::Estimate(const Request& request) const {
  Cost cost;
  std::int64_t text = static_cast<std::int64_t>(request.text.size());
  for (const std::string& label : request.labels) text += static_cast<std::int64_t>(label.size());
  cost.bytes = text;
  for (const ImageInput& image : request.images) {
    cost.bytes += static_cast<std::int64_t>(image.encoded.size() + image.raw.data.size());
  }
  const std::int64_t prompts =
      request.separate_labels ? std::max<std::int64_t>(1, std::ssize(request.labels)) : 1;
  const std::int64_t prefix =
      std::ssize(request.images) * options_.tokens_per_image + text / kBytesPerToken + 1;
  cost.prefix.tokens = prompts * request.num_candidates * prefix;
  cost.prefix.images = std::ssize(request.images);
  return cost;
}

Status Dispatcher::Overloaded(const std::string& what) const {
  return Status(StatusCode::kUnavailable, Reason::kServerOverloaded,
                "the server is overloaded (" + what + "); try again later")
      .WithRetryAfter(load_.RetryDelay(num_queued_));
}

Status Dispatcher::CheckAdmission(const Cost& cost, const Request& request) const {
  if (draining_ || stopping_) return DrainingStatus();
  if (!started_) {
    return Status(StatusCode::kUnavailable, Reason::kModelLoading, "the model is still loading")
        .WithRetryAfter(kRetryLoading);
  }
  const TimePoint first_token_by = std::min(request.deadline, request.time_budget);
  const TimePoint now = clock_->Now();
  if (first_token_by <= now) return DeadlineStatus("admission");
  PG_RETURN_IF_ERROR(CheckQueue(cost));
  if (first_token_by == kNoDeadline || entries_.empty()) return OkStatus();
  return CheckSpeed(cost, request, first_token_by - now);
}

Status Dispatcher::CheckQueue(const Cost& cost) const {
  if (num_queued_ >= options_.max_queued) {
    return Overloaded(std::to_string(num_queued_) + " requests wait");
  }
  if (num_queued_ == 0) return OkStatus();
  const std::int64_t tokens = queued_[0].tokens + queued_[1].tokens + queued_[2].tokens;
  if (options_.max_queued_tokens > 0 && tokens + cost.prefix.tokens > options_.max_queued_tokens) {
    return Overloaded(std::to_string(tokens) + " prompt tokens wait");
  }
  if (options_.max_queued_bytes > 0 && queued_bytes_ + cost.bytes > options_.max_queued_bytes) {
    return Overloaded(std::to_string(queued_bytes_) + " bytes wait");
  }
  return OkStatus();
}

Status Dispatcher::CheckSpeed(const Cost& cost, const Request& request, Duration left) const {
  Duration own = load_.PrefixTime(cost.prefix);
  // With a time budget what is complete by then is an answer.
  if (request.deadline <= request.time_budget) {
    const SamplingParams& sampling = request.sampling;
    const int tokens = sampling.ignore_eos ? request.max_tokens.value_or(0) : sampling.min_tokens;
    own += load_.DecodeTime(std::max(0, tokens - 1));
  }
  if (own > left) return DeadlineStatus("admission");
  PrefixWork ahead;
  for (int i = static_cast<int>(request.priority); i < 3; ++i) {
    ahead.tokens += queued_[i].tokens;
    ahead.images += queued_[i].images;
  }
  if (own + load_.PrefixTime(ahead) > left) {
    return Overloaded("the deadline would pass before the answer to this request");
  }
  return OkStatus();
}

void Dispatcher::LeaveQueue(Entry* entry) {
  if (!std::exchange(entry->counts_as_queued, false)) return;
  --num_queued_;
  PrefixWork& queued = queued_[static_cast<int>(entry->priority)];
  queued.tokens -= entry->cost.prefix.tokens;
  queued.images -= entry->cost.prefix.images;
  queued_bytes_ -= entry->cost.bytes;
}

void Dispatcher::PreprocessLoop() {
  pthread_setname_np(pthread_self(), "pg-preprocess");
  for (;;) {
    RequestId id = 0;
    Request request;
    std::shared_ptr<ResponseSink> sink;
    std::shared_ptr<Cancellation> cancellation;
    {
      MutexLock lock(&mutex_);
      while (queue_.empty() && !stopping_) work_.Wait(&mutex_);
      if (queue_.empty()) return;
      id = queue_.front();
      queue_.pop_front();
      const auto it = entries_.find(id);
      // Cancelled while it waited: somebody else has its sink.
      if (it == entries_.end() || it->second.sink == nullptr) continue;
      it->second.stage = Stage::kPreprocessing;
      request = std::move(it->second.request);
      sink = std::move(it->second.sink);
      it->second.sink = nullptr;
      cancellation = it->second.cancellation;
    }
    Preprocess(id, std::move(request), std::move(sink), std::move(cancellation));
  }
}

void Dispatcher::Preprocess(RequestId id, Request request, std::shared_ptr<ResponseSink> sink,
                            std::shared_ptr<Cancellation> cancellation) {
  const TimePoint began = clock_->Now();
  // A bundle without a decoder can give no mask but its codes.
  if (mask_decoder_ == nullptr && request.mask.encoding != MaskEncoding::kCodes) {
    request.mask.encoding = MaskEncoding::kNone;
  }
  const TimePoint deadline = std::min(request.deadline, request.time_budget);
  const InterruptCheck check = [&]() -> Status {
    PG_RETURN_IF_ERROR(StatusOf(*cancellation, "preprocess"));
    if (deadline <= clock_->Now()) return DeadlineStatus("preprocess");
    return OkStatus();
  };
  Status status = check();
  if (status.ok()) {
    StatusOr<PreparedRequest> prepared = preprocessor_->Prepare(request, check);
    status = prepared.status();
    if (status.ok()) {
      PreparedSequences made =
          MakeSequences(request, std::move(prepared).value(), vocabulary_, &next_sequence_);
      for (const auto& sequence : made.sequences) {
        if (engine_->FitsEver(*sequence)) continue;
        status = Status(StatusCode::kInvalidArgument, Reason::kPromptTooLong,
                        "prompt and output need more positions than the KV cache has",
                        {{"value", std::to_string(sequence->max_positions())},
                         {"limit", std::to_string(engine_->max_positions())}});
      }
      if (status.ok()) {
        made.delivery.id = id;
        made.delivery.sink = std::move(sink);
        made.delivery.cancellation = cancellation;
        made.delivery.result.timing.preprocess = clock_->Now() - began;
        delivery_->Begin(std::move(made.delivery));
        Handoff(id, std::move(made.sequences));
        return;
      }
    }
  }
  const TimePoint now = clock_->Now();
  delivery_->Reject(id, std::move(sink), std::move(status),
                    Unanswered(request.arrival, now, now - began));
}

void Dispatcher::Handoff(RequestId id, std::vector<std::unique_ptr<Sequence>> sequences) {
  std::vector<SequenceId> ids;
  for (const auto& sequence : sequences) ids.push_back(sequence->id);
  std::shared_ptr<Cancellation> cancellation;
  {
    MutexLock lock(&mutex_);
    const auto it = entries_.find(id);
    if (it == entries_.end()) return;  // delivery ended it meanwhile
    it->second.stage = Stage::kSubmitted;
    it->second.sequences = ids;
    cancellation = it->second.cancellation;
  }
  engine_->Submit(std::move(sequences));
  // A cancel between the lock and Submit() found nothing in the engine.
  if (cancellation->cause() != Cancellation::Cause::kNone) {
    for (const SequenceId sequence : ids) engine_->Cancel(sequence);
  }
}

void Dispatcher::Cancel(RequestId id) {
  std::shared_ptr<ResponseSink> sink;
  std::vector<SequenceId> sequences;
  TimePoint arrival;
  {
    MutexLock lock(&mutex_);
    const auto it = entries_.find(id);
    if (it == entries_.end()) return;
    Entry& entry = it->second;
    entry.cancellation->Set(Cancellation::Cause::kClient);
    arrival = entry.request.arrival;
    if (entry.stage == Stage::kQueued) sink = std::exchange(entry.sink, nullptr);
    sequences = entry.sequences;
  }
  if (sink != nullptr) {
    delivery_->Reject(id, std::move(sink), CancelledStatus("queue"),
                      Unanswered(arrival, clock_->Now()));
  }
  for (const SequenceId sequence : sequences) engine_->Cancel(sequence);
}

void Dispatcher::StopAdmission() {
  MutexLock lock(&mutex_);
  draining_ = true;
}

Status Dispatcher::Drain(TimePoint deadline) {
  StopAdmission();
  {
    MutexLock lock(&mutex_);
    while (!entries_.empty()) {
      if (!ended_.WaitUntil(&mutex_, deadline)) break;
    }
    if (entries_.empty()) return OkStatus();
  }
  EndAll();
  const TimePoint last = std::chrono::steady_clock::now() + kAbortGrace;
  MutexLock lock(&mutex_);
  while (!entries_.empty()) {
    if (!ended_.WaitUntil(&mutex_, last)) break;
  }
  return DeadlineStatus("drain");
}

void Dispatcher::EndAll() {
  struct Waiting {
    RequestId id;
    std::shared_ptr<ResponseSink> sink;
    TimePoint arrival;
  };
  std::vector<Waiting> queued;
  bool started = false;
  {
    MutexLock lock(&mutex_);
    started = started_;
    for (auto& [id, entry] : entries_) {
      entry.cancellation->Set(Cancellation::Cause::kDraining);
      if (entry.sink == nullptr) continue;
      queued.push_back({id, std::exchange(entry.sink, nullptr), entry.request.arrival});
    }
  }
  if (!started) return;
  for (Waiting& one : queued) {
    delivery_->Reject(one.id, std::move(one.sink), DrainingStatus(),
                      Unanswered(one.arrival, clock_->Now()));
  }
  delivery_->EndAll(DrainingStatus());
}

void Dispatcher::StopPreprocessing() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  work_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Dispatcher::OnFirstToken(RequestId id) {
  MutexLock lock(&mutex_);
  const auto it = entries_.find(id);
  if (it != entries_.end()) LeaveQueue(&it->second);
}

void Dispatcher::OnEnded(RequestId id) {
  {
    MutexLock lock(&mutex_);
    const auto it = entries_.find(id);
    if (it == entries_.end()) return;
    LeaveQueue(&it->second);
    entries_.erase(it);
    load_.OnRequestEnded(clock_->Now(), !entries_.empty());
  }
  ended_.NotifyAll();
}

DispatcherStats Dispatcher::Stats() const {
  DispatcherStats stats;
  {
    MutexLock lock(&mutex_);
    stats.in_flight = static_cast<int>(entries_.size());
    stats.queued = num_queued_;
    stats.running = stats.in_flight - stats.queued;
    stats.started = started_;
    stats.draining = draining_;
  }
  if (stats.started) stats.engine = engine_->Stats();
  return stats;
}

TimePoint Dispatcher::LastProgress() const {
  {
    MutexLock lock(&mutex_);
    if (!started_) return clock_->Now();
  }
  return engine_->LastProgress();
}

}  // namespace paligemma
