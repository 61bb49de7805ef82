// SPDX-License-Identifier: Apache-2.0
// Sends the answer of a request with masks to its sink. Renders each mask once, away from the
// delivery thread, and keeps the order of deltas. Drops what waits if the request fails, is
// cancelled or misses its deadline.
#ifndef CORE_ENGINE_ANSWER_SENDER_H_
#define CORE_ENGINE_ANSWER_SENDER_H_

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/answer/mask_maker.h"
#include "core/base/clock.h"
#include "core/base/mutex.h"
#include "core/base/status.h"
#include "core/engine/postprocess_pool.h"
#include "core/request/answer.h"
#include "core/request/cancellation.h"

namespace paligemma {

// Thread safe. The pool keeps it alive while it has work.
class AnswerSender final : public PostprocessPool::Lane,
                           public std::enable_shared_from_this<AnswerSender> {
 public:
  struct Options {
    PostprocessPool* pool = nullptr;  // outlives the request
    const Clock* clock = nullptr;
    std::shared_ptr<ResponseSink> sink;
    std::shared_ptr<const Cancellation> cancellation;
    TimePoint arrival{}, deadline = kNoDeadline;
    std::function<void()> cancel;    // ends the request's sequences in the engine; must not block
    std::function<void()> on_ended;  // after OnDone; must not block
  };

  AnswerSender(Options options, MaskMaker masks)
      : options_(std::move(options)), masks_(std::move(masks)) {}

  // Sends the delta once its object, at most one, has its mask.
  void Send(AnswerDelta delta) PG_LOCKS_EXCLUDED(mutex_);

  // Ends the request once all deltas are sent, or at once if `status` is an error. Renders the
  // masks that the result lacks first, or none of them if together they are above the limit.
  // REQUIRES: called once and last.
  void End(Status status, Answer result) PG_LOCKS_EXCLUDED(mutex_);

 private:
  struct Ending {
    Status status;
    Answer result;
  };

  bool RunTurn() override PG_LOCKS_EXCLUDED(mutex_);
  // Each returns true if it did work that ends a turn.
  bool SendNow(AnswerDelta delta);
  bool RenderNext(const Answer& result);
  void EndNow(Ending ending);

  // Renders one mask, and books the time.
  Status Render(const Object& object);
  void Fail(Status status);
  void Push(std::optional<AnswerDelta> delta, std::optional<Ending> ending)
      PG_LOCKS_EXCLUDED(mutex_);

  const Options options_;

  // Used by turns alone. One turn runs at a time.
  MaskMaker masks_;
  Status failure_;  // why a mask failed, or why no mask is wanted any more
  Duration spent_{};
  bool charged_ = false;            // the masks of the result are paid for
  std::vector<Object> unrendered_;  // of the result
  std::size_t num_rendered_ = 0;    // of these

  Mutex mutex_;
  std::deque<AnswerDelta> deltas_ PG_GUARDED_BY(mutex_);
  std::optional<Ending> ending_ PG_GUARDED_BY(mutex_);
  bool scheduled_ PG_GUARDED_BY(mutex_) = false;  // the pool has it, or runs it
};

}  // namespace paligemma

#endif  // CORE_ENGINE_ANSWER_SENDER_H_
