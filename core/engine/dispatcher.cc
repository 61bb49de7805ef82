// SPDX-License-Identifier: Apache-2.0
#include "core/engine/dispatcher.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/base/check.h"
#include "core/request/endings.h"

namespace paligemma {
namespace {

// How long the end of a drain waits for a step in progress.
constexpr std::chrono::seconds kAbortGrace{5};

// Returns the result of a request that ended before its first token: it waited, but for its
// preprocessing.
Answer Unanswered(TimePoint arrival, TimePoint now, Duration preprocess = {}) {
  Answer result;
  result.timing.preprocess = preprocess;
  result.timing.total = now - arrival;
  result.timing.queue = std::max(Duration::zero(), result.timing.total - preprocess);
  return result;
}

AdmissionOptions AdmissionOptionsOf(const DispatcherOptions& options) {
  AdmissionOptions admission = options.admission;
  admission.num_decoders = std::max(1, options.num_preprocess_threads - 1);
  return admission;
}

PreprocessPool::Options PoolOptions(const DispatcherOptions& options) {
  PreprocessPool::Options pool;
  pool.num_threads = options.num_preprocess_threads;
  pool.max_decoded_bytes = options.max_decoded_bytes;
  pool.heartbeats = options.heartbeats;
  return pool;
}

// Pictures of one request are decoded one after the other.
PreprocessPool::Item ItemOf(const Request& request, const std::vector<std::int64_t>& pixels) {
  PreprocessPool::Item item;
  item.priority = request.priority;
  for (const std::int64_t count : pixels) {
    item.pixels += count;
    item.decoded_bytes = std::max(item.decoded_bytes, count * kDecodedBytesPerPixel);
  }
  return item;
}

}  // namespace

Dispatcher::Dispatcher(const DispatcherOptions& options, EngineObserver* observer,
                       const Clock* clock)
    : options_(options),
      load_(observer),
      clock_(clock),
      admission_(AdmissionOptionsOf(options), &load_) {}

Dispatcher::~Dispatcher() {
  StopAdmission();
  EndAll();
  {
    // Once every request has ended, delivery has no reason left to call the engine.
    MutexLock lock(&mutex_);
    while (!live_.empty()) ended_.Wait(&mutex_);
  }
  preprocessing_.reset();
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
  delivery.heartbeats = options_.heartbeats;
  delivery_ = std::make_unique<Delivery>(delivery, std::move(hooks), clock_);
  engine_ = std::make_unique<Engine>(options_.scheduler, std::move(parts.runner), delivery_.get(),
                                     &load_, clock_, options_.heartbeats);
  preprocessing_ = std::make_unique<PreprocessPool>(PoolOptions(options_),
                                                    [this](RequestId id) { Preprocess(id); });
  MutexLock lock(&mutex_);
  PG_CHECK(!started_) << "Start() was called twice";
  started_ = true;
}

Status Dispatcher::CheckOpen() const {
  if (draining_) return DrainingStatus();
  if (started_) return OkStatus();
  return LoadingStatus();
}

StatusOr<RequestId> Dispatcher::Submit(Request request, std::shared_ptr<ResponseSink> sink) {
  {
    MutexLock lock(&mutex_);
    PG_RETURN_IF_ERROR(CheckOpen());
  }
  // Reads headers of the client's files, so that it holds no lock.
  const std::vector<std::int64_t> pixels = preprocessor_->CountPixels(request);
  PreprocessPool::Item item = ItemOf(request, pixels);
  item.cost = load_.PictureTime(item.pixels);
  {
    MutexLock lock(&mutex_);
    PG_RETURN_IF_ERROR(CheckOpen());
    const TimePoint now = clock_->Now();
    const Admission::Share share = admission_.ShareOf(request, item.pixels);
    PG_RETURN_IF_ERROR(admission_.Check(request, share, now, /*is_idle=*/live_.empty()));
    admission_.Enter(share);
    item.id = next_request_++;
    item.arrival = now;
    if (request.arrival == TimePoint{}) request.arrival = now;
    Live& live = live_[item.id];
    live.request = std::move(request);
    live.sink = std::move(sink);
    live.share = share;
  }
  preprocessing_->Push(item);
  return item.id;
}

void Dispatcher::LeaveQueue(Live* live) {
  if (std::exchange(live->is_queued, false)) admission_.Leave(live->share);
}

void Dispatcher::Preprocess(RequestId id) {
  Job job;
  if (!TakeJob(id, &job)) return;
  const TimePoint began = clock_->Now();
  const TimePoint arrival = job.request.arrival;
  StatusOr<PreparedSequences> made = Prepare(&job);
  const TimePoint now = clock_->Now();
  if (made.ok()) load_.OnPrepared(job.pixels, now - began);
  if (!made.ok()) {
    delivery_->Reject(id, std::move(job.sink), made.status(),
                      Unanswered(arrival, now, now - began));
    return;
  }
  DeliveryRequest& delivery = made->delivery;
  delivery.id = id;
  delivery.sink = std::move(job.sink);
  delivery.cancellation = std::move(job.cancellation);
  delivery.result.timing.preprocess = now - began;
  delivery_->Begin(std::move(delivery));
  Handoff(id, std::move(made->sequences));
}

// Returns false when the request was cancelled while it waited: its sink is delivery's then.
bool Dispatcher::TakeJob(RequestId id, Job* job) {
  MutexLock lock(&mutex_);
  const auto it = live_.find(id);
  if (it == live_.end() || it->second.sink == nullptr) return false;
  Live& live = it->second;
  live.stage = Stage::kPreparing;
  job->id = id;
  job->request = std::move(live.request);
  job->sink = std::exchange(live.sink, nullptr);
  job->cancellation = live.cancellation;
  job->pixels = live.share.pixels;
  return true;
}

StatusOr<PreparedSequences> Dispatcher::Prepare(Job* job) {
  Request& request = job->request;
  // A bundle without a decoder can give no mask but its codes.
  if (mask_decoder_ == nullptr && request.mask.encoding != MaskEncoding::kCodes) {
    request.mask.encoding = MaskEncoding::kNone;
  }
  const InterruptCheck check = [&]() -> Status {
    PG_RETURN_IF_ERROR(StatusOf(*job->cancellation, "preprocess"));
    const TimePoint until = std::min(request.deadline, request.time_budget);
    return until <= clock_->Now() ? DeadlineStatus("preprocess") : OkStatus();
  };
  PG_RETURN_IF_ERROR(check());
  PG_ASSIGN_OR_RETURN(PreparedRequest prepared, preprocessor_->Prepare(request, check));
  PreparedSequences made =
      MakeSequences(request, std::move(prepared), vocabulary_, &next_sequence_);
  for (const auto& sequence : made.sequences) {
    if (engine_->FitsEver(*sequence)) continue;
    return Status(StatusCode::kInvalidArgument, Reason::kPromptTooLong,
                  "prompt and output need more positions than the KV cache has",
                  {{"value", std::to_string(sequence->max_positions())},
                   {"limit", std::to_string(engine_->max_positions())}});
  }
  return made;
}

void Dispatcher::Handoff(RequestId id, std::vector<std::unique_ptr<Sequence>> sequences) {
  std::vector<SequenceId> ids;
  for (const auto& sequence : sequences) ids.push_back(sequence->id);
  std::shared_ptr<Cancellation> cancellation;
  {
    MutexLock lock(&mutex_);
    const auto it = live_.find(id);
    if (it == live_.end()) return;  // delivery ended it meanwhile
    it->second.stage = Stage::kSubmitted;
    admission_.Decoded(&it->second.share);
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
    const auto it = live_.find(id);
    if (it == live_.end()) return;
    Live& live = it->second;
    live.cancellation->Set(Cancellation::Cause::kClient);
    arrival = live.request.arrival;
    if (live.stage == Stage::kWaiting) sink = std::exchange(live.sink, nullptr);
    sequences = live.sequences;
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
    if (AwaitEnds(deadline)) return OkStatus();
  }
  EndAll();
  MutexLock lock(&mutex_);
  AwaitEnds(std::chrono::steady_clock::now() + kAbortGrace);
  return DeadlineStatus("drain");
}

void Dispatcher::AwaitEnds() {
  MutexLock lock(&mutex_);
  AwaitEnds(TimePoint::max());
}

// Returns true if every request has ended at `deadline`.
bool Dispatcher::AwaitEnds(TimePoint deadline) {
  while (!live_.empty() && ended_.WaitUntil(&mutex_, deadline)) {
  }
  return live_.empty();
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
    for (auto& [id, live] : live_) {
      live.cancellation->Set(Cancellation::Cause::kDraining);
      if (live.sink == nullptr) continue;
      queued.push_back({id, std::exchange(live.sink, nullptr), live.request.arrival});
    }
  }
  if (!started) return;
  for (Waiting& one : queued) {
    delivery_->Reject(one.id, std::move(one.sink), DrainingStatus(),
                      Unanswered(one.arrival, clock_->Now()));
  }
  delivery_->EndAll(DrainingStatus());
}

void Dispatcher::OnFirstToken(RequestId id) {
  MutexLock lock(&mutex_);
  const auto it = live_.find(id);
  if (it != live_.end()) LeaveQueue(&it->second);
}

void Dispatcher::OnEnded(RequestId id) {
  {
    MutexLock lock(&mutex_);
    const auto it = live_.find(id);
    if (it == live_.end()) return;
    LeaveQueue(&it->second);
    live_.erase(it);
    load_.OnRequestEnded(clock_->Now(), !live_.empty());
  }
  ended_.NotifyAll();
}

DispatcherStats Dispatcher::Stats() const {
  DispatcherStats stats;
  {
    MutexLock lock(&mutex_);
    stats.in_flight = static_cast<int>(live_.size());
    stats.queued = admission_.num_queued();
    stats.running = stats.in_flight - stats.queued;
    stats.started = started_;
    stats.draining = draining_;
  }
  if (stats.started) stats.engine = engine_->Stats();
  return stats;
}

}  // namespace paligemma
