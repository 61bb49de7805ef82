// SPDX-License-Identifier: Apache-2.0
// How steps and sequences end. Only here does a sequence advance.
#include <chrono>
#include <limits>
#include <string_view>

#include "core/base/check.h"
#include "core/request/endings.h"
#include "core/sched/scheduler.h"
#include "core/sched/stopping_criteria.h"

namespace paligemma {

template <typename Visitor>
void Scheduler::Close(Step step, Visitor visit) {
  for (std::size_t i = 0; i < step.rows.size(); ++i) {
    Entry* const entry = step.rows[i].entry;
    --entry->in_flight;
    if (entry->in_flight == 0) entry->newest_row = -1;
    const bool counts = entry->state == State::kRunning && step.rows[i].epoch == entry->epoch;
    if (counts) {
      visit(entry, static_cast<int>(i));
    } else if (entry->in_flight == 0) {
      Reap(entry);
    }
  }
}

std::vector<StepEvent> Scheduler::Commit(const Batch& batch, StepResult result) {
  PG_CHECK(!in_flight_.empty() && in_flight_.front().rows.size() == batch.rows.size())
      << "a step is committed out of order";
  PG_CHECK(result.outputs.size() == batch.rows.size()) << "outputs and rows differ in number";
  Step step = std::move(in_flight_.front());
  in_flight_.pop_front();
  if (step.prefill) max_prefill_rows_ = std::numeric_limits<int>::max();
  std::vector<StepEvent> events;
  events.reserve(step.rows.size());
  Close(std::move(step), [&](Entry* entry, int row) {
    events.push_back(CommitRow(entry, batch, result, std::move(result.outputs[row]), row));
  });
  return events;
}

StepEvent Scheduler::CommitRow(Entry* entry, const Batch& batch, const StepResult& result,
                               StepOutput output, int row) {
  if (output.numeric_fault) {
    return End(entry,
               Status(StatusCode::kInternal, Reason::kNumericFault,
                      "the model produced values that are not numbers"),
               FinishReason::kNone);
  }
  Sequence& sequence = *entry->sequence;
  PG_CHECK(batch.rows[row].output_index == entry->num_output())
      << "sequence " << sequence.id << " skips a token";
  sequence.output.push_back(output.token);
  const FinishReason reason = CheckStop(sequence);
  const bool first = entry->num_output() == 1;
  StepEvent event;
  event.sequence = sequence.id;
  if (first) {
    event.scheduled = entry->scheduled;
    event.vision = result.vision;
    event.prefill = result.model;
  }
  if (reason != FinishReason::kNone) {
    const StepEvent end = End(entry, OkStatus(), reason);  // destroys the sequence
    event.finished = end.finished;
    event.finish = end.finish;
  }
  event.has_token = true;
  event.output = std::move(output);
  return event;
}

std::vector<StepEvent> Scheduler::FailStep(Step step, const Status& status) {
  std::vector<StepEvent> events;
  Close(std::move(step),
        [&](Entry* entry, int) { events.push_back(End(entry, status, FinishReason::kNone)); });
  return events;
}

std::vector<StepEvent> Scheduler::Fail(const Batch& batch, const Status& status) {
  PG_CHECK(!in_flight_.empty() && in_flight_.front().rows.size() == batch.rows.size())
      << "a step fails out of order";
  Step step = std::move(in_flight_.front());
  in_flight_.pop_front();
  return FailStep(std::move(step), status);
}

std::vector<StepEvent> Scheduler::FailUnstarted(const Batch& batch, const Status& status) {
  PG_CHECK(!in_flight_.empty() && in_flight_.back().rows.size() == batch.rows.size())
      << "a step fails that was not the newest";
  return FailStep(TakeNewest(), status);
}

// The step before becomes the newest again: look-ahead rows refer to its rows.
Scheduler::Step Scheduler::TakeNewest() {
  Step step = std::move(in_flight_.back());
  in_flight_.pop_back();
  if (in_flight_.empty()) return step;
  for (std::size_t i = 0; i < in_flight_.back().rows.size(); ++i) {
    in_flight_.back().rows[i].entry->newest_row = static_cast<int>(i);
  }
  return step;
}

bool Scheduler::Retry(const Batch& batch, bool started) {
  PG_CHECK(!in_flight_.empty()) << "no step to retry";
  const Step& planned = started ? in_flight_.front() : in_flight_.back();
  PG_CHECK(planned.rows.size() == batch.rows.size()) << "a step is retried out of order";
  if (planned.rows.size() < 2) return false;
  max_prefill_rows_ = static_cast<int>(planned.rows.size()) / 2;
  Step step;
  if (started) {
    step = std::move(in_flight_.front());
    in_flight_.pop_front();
  } else {
    step = TakeNewest();
  }
  Close(std::move(step), [&](Entry* entry, int) {
    running_.erase(entry->key);
    waiting_.emplace(entry->key, entry);
    entry->state = State::kWaiting;
    ++entry->epoch;
    if (entry->in_flight == 0) kv_->Release(entry->key.second);
  });
  last_was_prefill_ = false;
  return true;
}

std::string_view Scheduler::Phase(const Entry& entry) const {
  if (entry.num_output() > 0) return "decode";
  return entry.state == State::kRunning ? "prefill" : "queue";
}

// Takes a sequence out; what steps in flight still use stays until they are committed.
StepEvent Scheduler::End(Entry* entry, Status status, FinishReason reason) {
  StepEvent event;
  event.sequence = entry->key.second;
  event.finished = true;
  event.finish = reason;
  event.status = std::move(status);
  waiting_.erase(entry->key);
  running_.erase(entry->key);
  if (entry->expiry() != kNoDeadline) expiries_.erase({entry->expiry(), entry->key.second});
  entry->state = State::kEnded;
  if (entry->in_flight == 0) Reap(entry);
  return event;
}

StepEvent Scheduler::EndLate(Entry* entry, TimePoint now) {
  const bool deadline = entry->sequence->deadline <= now;
  const bool has_tokens = entry->num_output() > 0;
  const FinishReason reason = deadline ? FinishReason::kNone : FinishReason::kTimeBudget;
  if (!deadline && has_tokens) return End(entry, OkStatus(), reason);
  const std::string_view phase = Phase(*entry);
  return End(entry, deadline ? DeadlineStatus(phase) : TimeBudgetStatus(phase), reason);
}

// REQUIRES: no row of it is in flight.
void Scheduler::Reap(Entry* entry) {
  const SequenceId id = entry->key.second;
  kv_->Release(id);
  if (entry->state == State::kEnded) entries_.erase(id);
}

std::optional<StepEvent> Scheduler::Cancel(SequenceId id) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second->state == State::kEnded) return std::nullopt;
  Entry* const entry = found->second.get();
  return End(entry, CancelledStatus(Phase(*entry)), FinishReason::kNone);
}

std::optional<StepEvent> Scheduler::Finish(SequenceId id, FinishReason reason) {
  const auto found = entries_.find(id);
  if (found == entries_.end() || found->second->state == State::kEnded) return std::nullopt;
  return End(found->second.get(), OkStatus(), reason);
}

std::vector<StepEvent> Scheduler::EndAll(const Status& status) {
  std::vector<StepEvent> events;
  while (!waiting_.empty()) {
    events.push_back(End(waiting_.begin()->second, status, FinishReason::kNone));
  }
  while (!running_.empty()) {
    events.push_back(End(running_.begin()->second, status, FinishReason::kNone));
  }
  return events;
}

}  // namespace paligemma
