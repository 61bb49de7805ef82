// SPDX-License-Identifier: Apache-2.0
#include "core/engine/answer_sender.h"

#include <utility>

#include "core/request/endings.h"

namespace paligemma {

void AnswerSender::Send(AnswerDelta delta) { Push(std::move(delta), std::nullopt); }

void AnswerSender::End(Status status, Answer result) {
  Push(std::nullopt, Ending{std::move(status), std::move(result)});
}

void AnswerSender::Push(std::optional<AnswerDelta> delta, std::optional<Ending> ending) {
  {
    MutexLock lock(&mutex_);
    if (delta.has_value()) deltas_.push_back(*std::move(delta));
    if (ending.has_value()) ending_ = std::move(ending);
    if (std::exchange(scheduled_, true)) return;
  }
  options_.pool->Schedule(shared_from_this());
}

bool AnswerSender::RunTurn() {
  for (;;) {
    std::optional<AnswerDelta> delta;
    bool sequences_ended = false;
    {
      MutexLock lock(&mutex_);
      sequences_ended = ending_.has_value();
      if (!failure_.ok() || (sequences_ended && !ending_->status.ok())) deltas_.clear();
      if (!deltas_.empty()) {
        delta = std::move(deltas_.front());
        deltas_.pop_front();
      } else if (!sequences_ended) {
        scheduled_ = false;
        return false;
      }
    }
    if (delta.has_value()) {
      if (SendNow(*std::move(delta))) return true;
      continue;
    }
    Ending ending;
    {
      MutexLock lock(&mutex_);
      ending = *std::exchange(ending_, std::nullopt);
    }
    if (failure_.ok() && ending.status.ok() && RenderNext(ending.result)) {
      MutexLock lock(&mutex_);
      ending_ = std::move(ending);
      return true;
    }
    EndNow(std::move(ending));
    return false;
  }
}

bool AnswerSender::SendNow(AnswerDelta delta) {
  const bool lacks_mask = !delta.objects.empty() && MaskMaker::Lacks(delta.objects.front());
  if (lacks_mask) {
    Status status = masks_.Charge(delta.objects);
    if (status.ok()) status = Render(delta.objects.front());
    if (!status.ok()) {
      Fail(std::move(status));
      return true;
    }
  }
  options_.sink->OnDelta(std::move(delta));
  return lacks_mask;
}

bool AnswerSender::RenderNext(const Answer& result) {
  if (!std::exchange(charged_, true)) {
    for (const Candidate& candidate : result.candidates) {
      for (const Object& object : candidate.objects) {
        if (MaskMaker::Lacks(object)) unrendered_.push_back(object);
      }
    }
    if (Status status = masks_.Charge(unrendered_); !status.ok()) {
      Fail(std::move(status));
      return false;
    }
  }
  if (num_rendered_ == unrendered_.size()) return false;
  if (Status status = Render(unrendered_[num_rendered_++]); !status.ok()) Fail(std::move(status));
  return failure_.ok();
}

Status AnswerSender::Render(const Object& object) {
  PG_RETURN_IF_ERROR(StatusOf(*options_.cancellation, "postprocess"));
  const TimePoint began = options_.clock->Now();
  if (options_.deadline <= began) return DeadlineStatus("postprocess");
  Status status = masks_.Render(object);
  spent_ += options_.clock->Now() - began;
  return status;
}

void AnswerSender::Fail(Status status) {
  failure_ = std::move(status);
  options_.cancel();
}

void AnswerSender::EndNow(Ending ending) {
  RequestTiming& timing = ending.result.timing;
  timing.postprocess += spent_;
  timing.total = options_.clock->Now() - options_.arrival;
  options_.sink->OnDone(failure_.ok() ? std::move(ending.status) : failure_,
                        std::move(ending.result));
  options_.on_ended();
}

}  // namespace paligemma
