// SPDX-License-Identifier: Apache-2.0
// Plans the rows of the next step. scheduler_commit.cc holds how steps end.
#include "core/sched/scheduler.h"

#include <algorithm>
#include <iterator>
#include <limits>

#include "core/base/check.h"

namespace paligemma {

Scheduler::Scheduler(const SchedulerOptions& options, KvCacheManager* kv)
    : options_(options), kv_(kv), max_prefill_rows_(std::numeric_limits<int>::max()) {
  PG_CHECK(options.max_running > 0 && options.max_batch_tokens > 0 && options.max_vision_batch > 0)
      << "limits of the scheduler must be positive";
}

bool Scheduler::FitsEver(const Sequence& sequence) const {
  return kv_->BlocksFor(sequence.max_positions()) <= kv_->num_blocks();
}

void Scheduler::Add(std::unique_ptr<Sequence> sequence, TimePoint now) {
  PG_CHECK(FitsEver(*sequence)) << "sequence " << sequence->id << " can never run";
  PG_CHECK(sequence->max_tokens > 0) << "sequence " << sequence->id << " wants no token";
  auto entry = std::make_unique<Entry>();
  const int priority = static_cast<int>(sequence->priority);
  entry->key = {sequence->arrival - options_.ageing * priority, sequence->id};
  entry->added = now;
  entry->sequence = std::move(sequence);
  waiting_.emplace(entry->key, entry.get());
  if (entry->expiry() != kNoDeadline) expiries_.emplace(entry->expiry(), entry->key.second);
  const SequenceId id = entry->key.second;
  PG_CHECK(entries_.emplace(id, std::move(entry)).second) << "sequence " << id << " comes twice";
}

Scheduler::Decision Scheduler::Schedule(TimePoint now) {
  Decision decision;
  Expire(now, &decision.events);
  const bool can_decode = std::any_of(running_.begin(), running_.end(),
                                      [&](const auto& item) { return CanDecode(*item.second); });
  bool prefill = !(last_was_prefill_ && can_decode);
  if (prefill && !WaitsForImages(now, &decision.wake_up)) PlanPrefill(now, &decision.batch);
  prefill = !decision.batch.empty();
  if (!prefill) PlanDecode(&decision.batch, &decision.num_preempted);
  if (!decision.batch.empty()) {
    Record(prefill, &decision.batch);
    last_was_prefill_ = prefill;
  }
  if (!expiries_.empty()) decision.wake_up = std::min(decision.wake_up, expiries_.begin()->first);
  return decision;
}

void Scheduler::Expire(TimePoint now, std::vector<StepEvent>* events) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    events->push_back(EndLate(entries_.at(expiries_.begin()->second).get(), now));
  }
}

// Waits on an idle engine, so that requests that arrive together can share a vision batch.
bool Scheduler::WaitsForImages(TimePoint now, TimePoint* wake_up) const {
  if (waiting_.empty() || !running_.empty() || !in_flight_.empty()) return false;
  std::int64_t images = 0, tokens = 0;
  TimePoint oldest = kNoDeadline;
  for (const auto& [key, entry] : waiting_) {
    if (entry->num_output() > 0 || entry->epoch > 0) return false;  // ran before
    images += static_cast<std::int64_t>(entry->sequence->images.size());
    tokens += entry->sequence->num_prompt_tokens();
    oldest = std::min(oldest, entry->added);
    if (images >= options_.max_vision_batch || tokens >= options_.max_batch_tokens) return false;
  }
  const TimePoint until = oldest + options_.max_batch_delay;
  if (images == 0 || now >= until) return false;
  *wake_up = until;
  return true;
}

void Scheduler::PlanPrefill(TimePoint now, Batch* batch) {
  while (!waiting_.empty()) {
    Entry* const entry = waiting_.begin()->second;
    const Sequence& sequence = *entry->sequence;
    if (!Admits(*entry, *batch)) return;
    const int num_output = entry->num_output();
    if (!kv_->TryReserve(sequence.id, sequence.num_prompt_tokens() + num_output)) return;
    waiting_.erase(waiting_.begin());
    running_.emplace(entry->key, entry);
    entry->state = State::kRunning;
    if (entry->scheduled == TimePoint{}) entry->scheduled = now;
    batch->num_tokens += sequence.num_prompt_tokens() + num_output;
    batch->num_images += static_cast<int>(sequence.images.size());
    BatchRow row;
    row.prefill = true;
    row.num_cached = num_output;
    row.output_index = num_output;
    AddRow(entry, std::move(row), batch);
  }
}

// Returns true if the first waiting sequence may join `batch`. No other sequence overtakes it. A
// sequence that alone exceeds a limit runs alone.
bool Scheduler::Admits(const Entry& entry, const Batch& batch) const {
  if (entry.in_flight > 0 || num_running() >= options_.max_running) return false;
  const Sequence& sequence = *entry.sequence;
  const int positions = sequence.num_prompt_tokens() + entry.num_output();
  if (!running_.empty()) {
    // Leaves room for the running sequences to grow; otherwise the new one is preempted at once.
    const int spare = 1 + num_running() / 8;
    if (kv_->BlocksFor(positions) + spare > kv_->num_free()) return false;
  }
  if (batch.empty()) return true;
  const int num_images = static_cast<int>(sequence.images.size());
  return static_cast<int>(batch.rows.size()) < max_prefill_rows_ &&
         batch.num_tokens + positions <= options_.max_batch_tokens &&
         batch.num_images + num_images <= options_.max_vision_batch;
}

bool Scheduler::CanDecode(const Entry& entry) const {
  return entry.num_output() + entry.in_flight < entry.sequence->max_tokens;
}

void Scheduler::PlanDecode(Batch* batch, int* num_preempted) {
  batch->rows.reserve(running_.size());
  for (auto it = running_.begin(); it != running_.end();) {
    Entry* const entry = it->second;
    if (CanDecode(*entry)) {
      if (!ReserveDecode(entry, num_preempted)) {
        // Steps in flight must end before blocks can be taken back, or `entry` itself was the last
        // in the order and has been preempted.
        if (!in_flight_.empty()) *batch = Batch();
        return;
      }
      BatchRow row;
      row.num_cached = 1;
      row.output_index = entry->num_output() + entry->in_flight;
      row.first_cached = row.output_index - 1;
      row.input_row = entry->in_flight > 0 ? entry->newest_row : -1;
      PG_CHECK(row.output_index > 0 && (entry->in_flight == 0 || row.input_row >= 0))
          << "sequence " << entry->key.second << " has no token to go on from";
      ++batch->num_tokens;
      AddRow(entry, std::move(row), batch);
    }
    ++it;
  }
}

bool Scheduler::ReserveDecode(Entry* entry, int* num_preempted) {
  const Sequence& sequence = *entry->sequence;
  const int positions = sequence.num_prompt_tokens() + entry->num_output() + entry->in_flight;
  while (!kv_->TryReserve(sequence.id, positions)) {
    if (!in_flight_.empty()) return false;
    Entry* const victim = running_.rbegin()->second;
    const bool itself = victim == entry;
    PG_CHECK(!itself || running_.size() > 1) << "blocks are lost";
    WaitAgain(victim);
    ++*num_preempted;
    if (itself) return false;
  }
  return true;
}

void Scheduler::AddRow(Entry* entry, BatchRow row, Batch* batch) {
  row.sequence = entry->sequence.get();
  row.block_table = kv_->block_table(entry->key.second);
  batch->rows.push_back(std::move(row));
}

void Scheduler::Record(bool prefill, Batch* batch) {
  if (!in_flight_.empty()) {
    for (const Row& row : in_flight_.back().rows) row.entry->newest_row = -1;
  }
  batch->step = ++last_step_;
  Step step;
  step.id = batch->step;
  step.prefill = prefill;
  step.rows.reserve(batch->rows.size());
  for (const BatchRow& row : batch->rows) {
    Entry* const entry = entries_.at(row.sequence->id).get();
    entry->newest_row = static_cast<int>(step.rows.size());
    ++entry->in_flight;
    step.rows.push_back({entry, entry->epoch, row.output_index});
  }
  in_flight_.push_back(std::move(step));
  PG_CHECK(in_flight_.size() <= 2) << "more than two steps in flight";
}

void Scheduler::CheckInvariants() const {
  kv_->CheckInvariants();
  std::unordered_map<const Entry*, int> rows;
  for (const Step& step : in_flight_) {
    for (const Row& row : step.rows) ++rows[row.entry];
  }
  int holders = 0;
  std::size_t num_ended = 0;
  for (const auto& [id, entry] : entries_) {
    const bool holds = kv_->num_held(id) > 0;
    holders += holds ? 1 : 0;
    PG_CHECK(entry->in_flight == rows[entry.get()]) << "rows of " << id << " are miscounted";
    PG_CHECK(waiting_.contains(entry->key) == (entry->state == State::kWaiting)) << id;
    PG_CHECK(running_.contains(entry->key) == (entry->state == State::kRunning)) << id;
    switch (entry->state) {
      case State::kWaiting:
        PG_CHECK(!holds || entry->in_flight > 0) << id << " waits and holds blocks";
        break;
      case State::kRunning:
        PG_CHECK(holds) << id << " runs without blocks";
        break;
      case State::kEnded:
        PG_CHECK(entry->in_flight > 0) << id << " ended and is still here";
        ++num_ended;
        break;
    }
  }
  PG_CHECK(holders == kv_->num_sequences()) << "blocks without an owner";
  PG_CHECK(waiting_.size() + running_.size() + num_ended == entries_.size()) << "lost sequences";
  PG_CHECK(num_running() <= options_.max_running) << "too many run";
}

}  // namespace paligemma
