// SPDX-License-Identifier: Apache-2.0
// The front of the engine and the table of live requests: admits requests, lets the pool prepare
// them, submits their sequences to the engine, and ends each request exactly once.
//
//   Submit -> Admission -> PreprocessPool -> Engine -> Delivery -> ResponseSink
//
// A dispatcher exists before the model is loaded, so that ports can be bound first. Until Start()
// it refuses requests with MODEL_LOADING.
//
// Thread safety: thread safe. Sinks are called from delivery's threads, never from Submit or
// Cancel. Lock order: at most one mutex is held at a time, and the load estimator's beside it.
#ifndef CORE_ENGINE_DISPATCHER_H_
#define CORE_ENGINE_DISPATCHER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/answer/mask_maker.h"
#include "core/answer/vocabulary.h"
#include "core/base/clock.h"
#include "core/base/heartbeat.h"
#include "core/base/mutex.h"
#include "core/base/status.h"
#include "core/engine/admission.h"
#include "core/engine/delivery.h"
#include "core/engine/engine.h"
#include "core/engine/load_estimator.h"
#include "core/engine/preprocess_pool.h"
#include "core/engine/preprocessor.h"
#include "core/engine/sequence_factory.h"
#include "core/model/model_runner.h"
#include "core/request/cancellation.h"
#include "core/request/engine_observer.h"
#include "core/request/request.h"
#include "core/sched/scheduler_options.h"

namespace paligemma {

struct DispatcherOptions {
  AdmissionOptions admission;
  // Threads that decode pictures. If there are several, the last one takes only small pictures.
  int num_preprocess_threads = 2;
  std::int64_t max_decoded_bytes = std::int64_t{1} << 30;  // of pictures that are being decoded
  int num_postprocess_threads = 2;                         // render masks
  std::int64_t max_mask_pixels = kMaxMaskPixels;           // of one request
  SchedulerOptions scheduler;
  // The heartbeats of the threads. May be null; must outlive the dispatcher.
  Heartbeats* heartbeats = nullptr;
};

// A snapshot for metrics and health; its parts may be a step apart.
struct DispatcherStats {
  int in_flight = 0;      // accepted requests that have not ended
  int queued = 0;         // of these, those without a first token
  int running = 0;        // of these, those with one
  EngineStats engine;     // zeros before Start()
  bool started = false;   // Start() was called
  bool draining = false;  // new requests are refused
};

class Dispatcher {
 public:
  // The parts that exist once the model is loaded. The dispatcher takes them over.
  struct Parts {
    std::unique_ptr<ModelRunner> runner;
    std::unique_ptr<Preprocessor> preprocessor;
    Vocabulary vocabulary;
    std::unique_ptr<MaskDecoder> mask_decoder;  // null: the bundle has none
  };

  // `observer` may be null; it and `clock` must outlive the dispatcher.
  Dispatcher(const DispatcherOptions& options, EngineObserver* observer = nullptr,
             const Clock* clock = Clock::Real());

  // Ends the remaining requests with SERVER_DRAINING and joins all threads. Waits for a step in
  // progress.
  ~Dispatcher();

  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  // Starts the threads. REQUIRES: called once, before the destructor.
  void Start(Parts parts) PG_LOCKS_EXCLUDED(mutex_);

  // Takes the request over and never blocks. After success `sink` gets exactly one OnDone. An error
  // refuses the request, and the sink is never called. MODEL_LOADING, SERVER_DRAINING and
  // SERVER_OVERLOADED are UNAVAILABLE with a retry_after(). Admission::Check() says which deadlines
  // are refused.
  StatusOr<RequestId> Submit(Request request, std::shared_ptr<ResponseSink> sink)
      PG_LOCKS_EXCLUDED(mutex_);

  // Ends a request with CANCELLED, at the latest after the step in progress; its OnDone comes as
  // for any other. Ids that are unknown or have ended are ignored.
  void Cancel(RequestId id) PG_LOCKS_EXCLUDED(mutex_);

  // Refuses new requests from now on and waits for the accepted ones. At `deadline` (of the
  // machine's clock) ends those that are left with SERVER_DRAINING and returns DEADLINE_EXCEEDED.
  // May be called again.
  Status Drain(TimePoint deadline) PG_LOCKS_EXCLUDED(mutex_);

  // Waits until every request that was accepted has ended. New work is taken meanwhile.
  void AwaitEnds() PG_LOCKS_EXCLUDED(mutex_);

  // Waits until the engine has nothing to compute. With look-ahead, the blocks of a sequence that
  // ended are free only then. REQUIRES: Start().
  void AwaitIdle() { engine_->AwaitIdle(); }

  // Ends all accepted requests with SERVER_DRAINING, without waiting for a step in progress. New
  // requests are taken as before.
  void EndAll() PG_LOCKS_EXCLUDED(mutex_);

  // Refuses new requests from now on, and returns at once.
  void StopAdmission() PG_LOCKS_EXCLUDED(mutex_);

  DispatcherStats Stats() const PG_LOCKS_EXCLUDED(mutex_);

 private:
  // The stage of a request. Its sink belongs to the table while the request waits, to the
  // preprocessing thread while it is prepared, and to delivery from then on.
  enum class Stage { kWaiting, kPreparing, kSubmitted };

  // One accepted request, until it ended.
  struct Live {
    Stage stage = Stage::kWaiting;
    Request request;                     // moved out when preparing begins
    std::shared_ptr<ResponseSink> sink;  // with it goes the duty to call OnDone
    std::vector<SequenceId> sequences;   // with kSubmitted
    std::shared_ptr<Cancellation> cancellation = std::make_shared<Cancellation>();
    Admission::Share share;
    bool is_queued = true;  // its share is booked
  };

  // What a preprocessing thread works on.
  struct Job {
    RequestId id = 0;
    Request request;
    std::shared_ptr<ResponseSink> sink;
    std::shared_ptr<Cancellation> cancellation;
    std::int64_t pixels = 0;
  };

  bool AwaitEnds(TimePoint deadline) PG_REQUIRES(mutex_);

  // Returns OK, or why no request is taken.
  Status CheckOpen() const PG_REQUIRES(mutex_);

  // On a preprocessing thread.
  void Preprocess(RequestId id) PG_LOCKS_EXCLUDED(mutex_);
  bool TakeJob(RequestId id, Job* job) PG_LOCKS_EXCLUDED(mutex_);
  StatusOr<PreparedSequences> Prepare(Job* job);
  void Handoff(RequestId id, std::vector<std::unique_ptr<Sequence>> sequences)
      PG_LOCKS_EXCLUDED(mutex_);

  void LeaveQueue(Live* live) PG_REQUIRES(mutex_);

  // From delivery's threads.
  void OnFirstToken(RequestId id) PG_LOCKS_EXCLUDED(mutex_);
  void OnEnded(RequestId id) PG_LOCKS_EXCLUDED(mutex_);

  const DispatcherOptions options_;
  LoadEstimator load_;  // between the engine and its observer
  const Clock* const clock_;
  std::atomic<SequenceId> next_sequence_{1};

  mutable Mutex mutex_;
  CondVar ended_;  // a request ended
  Admission admission_ PG_GUARDED_BY(mutex_);
  std::unordered_map<RequestId, Live> live_ PG_GUARDED_BY(mutex_);
  RequestId next_request_ PG_GUARDED_BY(mutex_) = 1;
  bool started_ PG_GUARDED_BY(mutex_) = false;
  bool draining_ PG_GUARDED_BY(mutex_) = false;

  // Start() sets these before started_ and nothing changes them later. Each outlives the next.
  std::unique_ptr<Preprocessor> preprocessor_;
  Vocabulary vocabulary_;
  std::unique_ptr<MaskDecoder> mask_decoder_;
  std::unique_ptr<Delivery> delivery_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<PreprocessPool> preprocessing_;
};

}  // namespace paligemma

#endif  // CORE_ENGINE_DISPATCHER_H_
