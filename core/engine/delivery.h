// SPDX-License-Identifier: Apache-2.0
// From step events to answers, on its own thread: detokenizes, matches stop sequences, counts
// objects, and calls the sinks. It owns each request's sink from Begin() or Reject() on, and calls
// its OnDone exactly once, after the engine let go of all its sequences.
//
// Thread safety: thread safe; sinks and hooks are called from the delivery thread alone, with no
// lock held.
#ifndef CORE_ENGINE_DELIVERY_H_
#define CORE_ENGINE_DELIVERY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/status.h"
#include "core/engine/engine.h"
#include "core/engine/text_stream.h"
#include "core/request/request.h"

namespace paligemma {

using RequestId = std::uint64_t;  // never reused within a process; 0 names none

// A request whose sequences are about to be submitted.
struct DeliveryRequest {
  RequestId id = 0;
  std::shared_ptr<ResponseSink> sink;
  std::vector<SequenceId> sequences;                 // as result.sequences
  std::vector<std::unique_ptr<TextStream>> streams;  // one for each
  // Prompts, images, seed, counts known so far, timing.preprocess; one SequenceResult for each
  // sequence, with its indices.
  RequestResult result;
  TimePoint arrival{};
  bool logprobs = false;
};

class Delivery final : public EventReceiver {
 public:
  // How delivery talks back. None may block.
  struct Hooks {
    std::function<void(SequenceId)> cancel;                // to the engine
    std::function<void(SequenceId, FinishReason)> finish;  // to the engine
    std::function<void(RequestId)> on_first_token;
    std::function<void(RequestId)> on_ended;  // after OnDone
    // What to tell a client whose request a later try may save.
    std::function<std::chrono::milliseconds()> retry_delay;
  };

  // Starts the thread. `clock` must outlive it.
  Delivery(Hooks hooks, const Clock* clock);

  // Delivers what is queued, ends what is left with SERVER_DRAINING, joins the thread.
  ~Delivery() override;

  // Takes a request over. Call it before its sequences go to the engine.
  void Begin(DeliveryRequest request) PG_LOCKS_EXCLUDED(mutex_);

  // Ends a request that never reached the engine.
  void Reject(RequestId id, std::shared_ptr<ResponseSink> sink, Status status, RequestResult result)
      PG_LOCKS_EXCLUDED(mutex_);

  void OnEvents(std::vector<StepEvent> events, TimePoint when) override PG_LOCKS_EXCLUDED(mutex_);

  // Ends every request that was taken over so far with `status`, without waiting for the engine.
  void EndAll(Status status) PG_LOCKS_EXCLUDED(mutex_);

 private:
  struct Rejection {
    RequestId id = 0;
    std::shared_ptr<ResponseSink> sink;
    Status status;
    RequestResult result;
  };
  struct Events {
    std::vector<StepEvent> events;
    TimePoint when{};
  };
  struct End {
    Status status;
  };
  using Message = std::variant<DeliveryRequest, Rejection, Events, End>;

  // One sequence's way out.
  struct Stream {
    struct HeldToken {
      TokenLogprob token;
      std::int64_t start = 0;  // offset of its text
    };
    std::unique_ptr<TextStream> text;
    std::vector<HeldToken> held;  // their text is held back
    std::int64_t shown_bytes = 0, decoded_bytes = 0;
    RequestDelta delta;   // of this round
    bool closed = false;  // no more text: it ended, here or in the engine
    bool ended = false;   // the engine let go of it
    bool late = false;    // its time budget ended before its first token
  };
  struct Live {
    DeliveryRequest request;
    std::vector<Stream> streams;
    int num_open = 0;  // sequences that the engine still has
    Status status;     // the first failure
    bool dirty = false;
    bool has_token = false;
    TimePoint first_token{}, last_token{};
  };
  struct Route {
    RequestId request = 0;
    int index = 0;
  };

  void Push(Message message) PG_LOCKS_EXCLUDED(mutex_);
  void Loop() PG_LOCKS_EXCLUDED(mutex_);

  void Handle(DeliveryRequest request);
  void Handle(Rejection rejection);
  void Handle(Events events);
  void Handle(End end);

  void OnEvent(StepEvent event, TimePoint when);
  void AddToken(Live* live, int index, const StepEvent& event, TimePoint when);
  void Show(Live* live, int index, TextUpdate update);
  void CloseStream(Live* live, int index, FinishReason reason, const std::string& matched_stop);
  void EndStream(Live* live, int index, const StepEvent& event);
  void SendDeltas(Live* live);
  void EndRequest(RequestId id, Status status);

  const Hooks hooks_;
  const Clock* const clock_;

  // Delivery thread only.
  std::unordered_map<RequestId, Live> live_;
  std::unordered_map<SequenceId, Route> routes_;

  Mutex mutex_;
  CondVar work_;
  std::vector<Message> messages_ PG_GUARDED_BY(mutex_);
  bool stopping_ PG_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: joined before what its loop uses is destroyed
};

}  // namespace paligemma

#endif  // CORE_ENGINE_DELIVERY_H_
