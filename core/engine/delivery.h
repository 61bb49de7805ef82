// SPDX-License-Identifier: Apache-2.0
// Turns step events into answers on a thread of its own: reads each token once, collects what a
// request gets, and calls the sinks. An AnswerSender takes over a request whose answer has masks,
// so that rendering delays no other request. Delivery owns each request's sink from Begin() or
// Reject() on. It calls OnDone exactly once, after the engine has released all sequences of the
// request.
//
// Thread safety: thread safe; sinks and hooks are called with no lock held, one call at a time for
// each request, from the delivery thread or, with masks, from the postprocessing threads.
#ifndef CORE_ENGINE_DELIVERY_H_
#define CORE_ENGINE_DELIVERY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "core/answer/answer_reader.h"
#include "core/answer/mask_maker.h"
#include "core/base/clock.h"
#include "core/base/heartbeat.h"
#include "core/base/mutex.h"
#include "core/base/status.h"
#include "core/engine/answer_sender.h"
#include "core/engine/engine.h"
#include "core/engine/postprocess_pool.h"
#include "core/request/answer.h"
#include "core/request/cancellation.h"
#include "core/request/request.h"

namespace paligemma {

// A request whose sequences are about to be submitted.
struct DeliveryRequest {
  struct Output {
    SequenceId sequence = kNoSequence;
    std::unique_ptr<AnswerReader> reader;
  };
  RequestId id = 0;
  std::shared_ptr<ResponseSink> sink;
  std::shared_ptr<const Cancellation> cancellation;
  std::vector<Output> outputs;  // as result.candidates
  // Holds prompts, images, seed, the counts known so far, timing.preprocess, and one Candidate with
  // its indices for each sequence.
  Answer result;
  TimePoint arrival{}, deadline = kNoDeadline;
  bool logprobs = false;
  bool streams_objects = false;  // the sink wants each object as it is complete
  MaskOptions mask;
};

class Delivery final : public EventReceiver {
 public:
  struct Options {
    MaskDecoder* mask_decoder = nullptr;  // not owned; null: no masks but as codes
    std::int64_t max_mask_pixels = kMaxMaskPixels;
    int num_postprocess_threads = 2;
    Heartbeats* heartbeats = nullptr;  // may be null; must outlive delivery
  };

  // Delivery calls these from the threads that call the sinks. None may block.
  struct Hooks {
    std::function<void(SequenceId)> cancel;                // to the engine
    std::function<void(SequenceId, FinishReason)> finish;  // to the engine
    std::function<void(RequestId)> on_first_token;
    std::function<void(RequestId)> on_ended;  // after OnDone
    // Returns what to tell a client whose request may succeed later.
    std::function<std::chrono::milliseconds()> retry_delay;
  };

  // Starts the threads. `clock` must outlive it.
  Delivery(const Options& options, Hooks hooks, const Clock* clock);

  // Delivers the queued events, ends the remaining requests with SERVER_DRAINING, and joins the
  // threads.
  ~Delivery() override;

  // Takes a request over. Call it before its sequences go to the engine.
  void Begin(DeliveryRequest request) PG_LOCKS_EXCLUDED(mutex_);

  // Ends a request that never reached the engine.
  void Reject(RequestId id, std::shared_ptr<ResponseSink> sink, Status status, Answer result)
      PG_LOCKS_EXCLUDED(mutex_);

  void OnEvents(std::vector<StepEvent> events, TimePoint when) override PG_LOCKS_EXCLUDED(mutex_);

  // Ends every request that was taken over so far with `status`, without waiting for the engine.
  void EndAll(Status status) PG_LOCKS_EXCLUDED(mutex_);

 private:
  struct Rejection {
    RequestId id = 0;
    std::shared_ptr<ResponseSink> sink;
    Status status;
    Answer result;
  };
  struct Events {
    std::vector<StepEvent> events;
    TimePoint when{};
  };
  struct End {
    Status status;
  };
  using Message = std::variant<DeliveryRequest, Rejection, Events, End>;

  // The output of one sequence.
  struct Output {
    SequenceId sequence = kNoSequence;
    std::unique_ptr<AnswerReader> reader;
    Candidate* result = nullptr;  // of the request's result
    AnswerDelta delta;            // of this round
    bool closed = false;          // no more text: it ended, here or in the engine
    bool ended = false;           // the engine has released it
    bool late = false;            // its time budget ended before its first token
  };
  struct Live {
    DeliveryRequest request;
    std::vector<Output> outputs;
    std::shared_ptr<AnswerSender> sender;  // null while no mask is to be rendered
    int num_open = 0;                      // sequences that the engine still has
    Status status;                         // the first failure
    bool dirty = false;
    bool has_token = false;
    TimePoint first_token{}, last_token{};
  };
  struct Route {
    Live* live = nullptr;
    Output* output = nullptr;
  };

  void Push(Message message) PG_LOCKS_EXCLUDED(mutex_);
  void Loop() PG_LOCKS_EXCLUDED(mutex_);

  void Handle(DeliveryRequest request);
  void Handle(Rejection rejection);
  void Handle(Events events);
  void Handle(End end);

  void BookToken(Live* live, const StepEvent& event, TimePoint when);
  void AddToken(Live* live, Output* output, StepEvent* event);
  void Take(Live* live, Output* output, AnswerEvent event);
  void EndOutput(Live* live, Output* output, const StepEvent& event);
  void CancelOpen(const Live& live);
  void SendDeltas(Live* live);
  void Send(Live* live, AnswerDelta delta);
  void SendLateObjects(Live* live);
  void EndRequest(RequestId id, Status status);
  AnswerSender* SenderOf(Live* live);

  const Options options_;
  const Hooks hooks_;
  const Clock* const clock_;
  Heartbeat heartbeat_;
  std::unique_ptr<PostprocessPool> pool_;

  // Delivery thread only.
  std::unordered_map<RequestId, std::unique_ptr<Live>> live_;
  std::unordered_map<SequenceId, Route> routes_;

  Mutex mutex_;
  CondVar work_;
  std::vector<Message> messages_ PG_GUARDED_BY(mutex_);
  bool stopping_ PG_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: joined before what its loop uses is destroyed
};

}  // namespace paligemma

#endif  // CORE_ENGINE_DELIVERY_H_
