// SPDX-License-Identifier: Apache-2.0
// Ends steps and sequences. A sequence advances in this file alone.
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
      visit(entry, step.rows[i].output_index, static_cast<int>(i));
    } else if (entry->in_flight == 0) {
      Reap(entry);
    }
  }
}

std::vector<StepEvent> Scheduler::Commit(StepId id, StepResult result) {
  PG_CHECK(!in_flight_.empty() && in_flight_.front().id == id)
      << "step " << id << " is committed out of order";
  Step step = TakeStep(id);
  PG_CHECK(result.outputs.size() == step.rows.size()) << "outputs and rows differ in number";
  if (step.prefill) max_prefill_rows_ = std::numeric_limits<int>::max();
  std::vector<StepEvent> events;
  events.reserve(step.rows.size());
  Close(std::move(step), [&](Entry* entry, int output_index, int row) {
    events.push_back(CommitRow(entry, output_index, result,
                               std::move(result.outputs[static_cast<std::size_t>(row)])));
  });
  return events;
}

StepEvent Scheduler::CommitRow(Entry* entry, int output_index, const StepResult& result,
                               StepOutput output) {
  if (output.numeric_fault) {
    return End(entry,
               Status(StatusCode::kInternal, Reason::kNumericFault,
                      "the model produced values that are not numbers"),
               FinishReason::kNone);
  }
  Sequence& sequence = *entry->sequence;
  PG_CHECK(output_index == entry->num_output()) << "sequence " << sequence.id << " skips a token";
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

Scheduler::Failure Scheduler::Fail(StepId id, const Status& status) {
  Step step = TakeStep(id);
  const bool retry = step.rows.size() > 1;
  Failure failure;
  if (retry) {
    max_prefill_rows_ = static_cast<int>(step.rows.size()) / 2;
    last_was_prefill_ = false;
    failure.num_retried = static_cast<int>(step.rows.size());
  }
  Close(std::move(step), [&](Entry* entry, int, int) {
    if (retry) {
      WaitAgain(entry);
    } else {
      failure.events.push_back(End(entry, status, FinishReason::kNone));
    }
  });
  return failure;
}

// Takes the oldest step or the newest off the books. When it is the newest, the step before becomes
// the newest again: look-ahead rows refer to its rows.
Scheduler::Step Scheduler::TakeStep(StepId id) {
  PG_CHECK(!in_flight_.empty()) << "step " << id << " is not in flight";
  if (in_flight_.front().id == id) {
    Step step = std::move(in_flight_.front());
    in_flight_.pop_front();
    return step;
  }
  PG_CHECK(in_flight_.back().id == id) << "step " << id << " is neither oldest nor newest";
  Step step = std::move(in_flight_.back());
  in_flight_.pop_back();
  for (std::size_t i = 0; i < in_flight_.back().rows.size(); ++i) {
    in_flight_.back().rows[i].entry->newest_row = static_cast<int>(i);
  }
  return step;
}

// Sends a running sequence back to the waiting ones; rows of it that are in flight are void.
void Scheduler::WaitAgain(Entry* entry) {
  running_.erase(entry->key);
  waiting_.emplace(entry->key, entry);
  entry->state = State::kWaiting;
  ++entry->epoch;
  if (entry->in_flight == 0) kv_->Release(entry->key.second);
}

std::string_view Scheduler::Phase(const Entry& entry) const {
  if (entry.num_output() > 0) return "decode";
  return entry.state == State::kRunning ? "prefill" : "queue";
}

// Takes a sequence out. Its blocks stay until the steps in flight that use them are committed.
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

// REQUIRES: no row of the sequence is in flight.
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
