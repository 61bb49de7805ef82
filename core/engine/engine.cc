// SPDX-License-Identifier: Apache-2.0
#include "core/engine/engine.h"

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "core/request/endings.h"

namespace paligemma {

Engine::Engine(const SchedulerOptions& options, std::unique_ptr<ModelRunner> runner,
               EventReceiver* receiver, EngineObserver* observer, const Clock* clock,
               Heartbeats* heartbeats)
    : heartbeat_(heartbeats, "pg-engine"),
      receiver_(receiver),
      observer_(observer),
      clock_(clock),
      runner_(std::move(runner)),
      kv_(runner_->num_kv_blocks(), runner_->kv_block_size()),
      scheduler_(options, &kv_),
      thread_([this] { Loop(); }) {}

Engine::~Engine() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  work_.NotifyOne();
  thread_.join();
}

void Engine::Submit(std::vector<std::unique_ptr<Sequence>> sequences) {
  {
    MutexLock lock(&mutex_);
    for (auto& sequence : sequences) inbox_.added.push_back(std::move(sequence));
    heartbeat_.Expect();
  }
  work_.NotifyOne();
}

void Engine::Cancel(SequenceId id) {
  {
    MutexLock lock(&mutex_);
    inbox_.cancelled.push_back(id);
    heartbeat_.Expect();
  }
  work_.NotifyOne();
}

void Engine::Finish(SequenceId id, FinishReason reason) {
  {
    MutexLock lock(&mutex_);
    inbox_.finished.emplace_back(id, reason);
    heartbeat_.Expect();
  }
  work_.NotifyOne();
}

void Engine::AwaitIdle() {
  MutexLock lock(&mutex_);
  while (!is_resting_ || !inbox_.empty()) rested_.Wait(&mutex_);
}

EngineStats Engine::Stats() const {
  EngineStats stats;
  stats.waiting_sequences = num_waiting_.load();
  stats.running_sequences = num_running_.load();
  stats.blocks_used = blocks_used_.load();
  stats.blocks_total = kv_.num_blocks();
  stats.block_size = kv_.block_size();
  stats.busy = busy_.load();
  return stats;
}

void Engine::Loop() {
  pthread_setname_np(pthread_self(), "pg-engine");
  while (WaitForWork()) Step();
  EndAll();
}

// Returns false when the engine is to stop.
bool Engine::WaitForWork() {
  MutexLock lock(&mutex_);
  while (!stopping_ && inbox_.empty() && idle_) {
    const TimePoint now = clock_->Now();
    if (wake_up_ <= now) {
      heartbeat_.Expect();
      break;
    }
    heartbeat_.Rest();
    if (wake_up_ == kNoDeadline) {
      is_resting_ = true;
      rested_.NotifyAll();
      work_.Wait(&mutex_);
      is_resting_ = false;
    } else {
      work_.WaitUntil(&mutex_, std::chrono::steady_clock::now() + (wake_up_ - now));
    }
  }
  return !stopping_;
}

void Engine::Step() {
  TakeInbox();
  while (static_cast<int>(in_flight_.size()) < runner_->depth()) {
    Batch batch = Plan();
    idle_ = batch.empty() && in_flight_.empty();
    if (batch.empty()) break;
    Start(std::move(batch));
  }
  Deliver();
  if (in_flight_.empty()) return;
  StatusOr<StepResult> result = runner_->Finish();
  Commit(std::move(result));
  Deliver();
}

void Engine::TakeInbox() {
  Inbox inbox;
  {
    MutexLock lock(&mutex_);
    std::swap(inbox, inbox_);
  }
  const TimePoint now = clock_->Now();
  for (auto& sequence : inbox.added) scheduler_.Add(std::move(sequence), now);
  for (const SequenceId id : inbox.cancelled) {
    if (auto event = scheduler_.Cancel(id)) events_.push_back(*std::move(event));
  }
  for (const auto& [id, reason] : inbox.finished) {
    if (auto event = scheduler_.Finish(id, reason)) events_.push_back(*std::move(event));
  }
}

// Returns the next step, which is empty when there is nothing to run now.
Batch Engine::Plan() {
  Scheduler::Decision decision = scheduler_.Schedule(clock_->Now());
  ObservePreemptions(decision.num_preempted);
  Add(std::move(decision.events));
  wake_up_ = decision.wake_up;
  return std::move(decision.batch);
}

void Engine::Start(Batch batch) {
  in_flight_.push_back(std::move(batch));
  const Status status = runner_->Start(in_flight_.back());
  if (status.ok()) return;
  const StepId step = in_flight_.back().step;
  in_flight_.pop_back();
  Fail(step, status);
}

// Books the end of the oldest step.
void Engine::Commit(StatusOr<StepResult> result) {
  const Batch batch = std::move(in_flight_.front());
  in_flight_.pop_front();
  heartbeat_.Beat();
  if (!result.ok()) {
    Fail(batch.step, result.status());
    return;
  }
  ObserveStep(batch, *result);
  Add(scheduler_.Commit(batch.step, std::move(result).value()));
}

void Engine::Fail(StepId step, const Status& status) {
  Scheduler::Failure failure = scheduler_.Fail(step, status);
  ObservePreemptions(failure.num_retried);
  Add(std::move(failure.events));
}

void Engine::Add(std::vector<StepEvent> events) {
  std::move(events.begin(), events.end(), std::back_inserter(events_));
}

void Engine::Deliver() {
  // Publishes first, so that a receiver that learns of an end finds the blocks free.
  Publish();
  if (!events_.empty()) receiver_->OnEvents(std::exchange(events_, {}), clock_->Now());
}

void Engine::ObservePreemptions(int count) {
  if (count > 0 && observer_ != nullptr) observer_->OnPreemptions(count);
}

void Engine::ObserveStep(const Batch& batch, const StepResult& result) {
  if (observer_ == nullptr) return;
  StepStats stats;
  stats.prefill = batch.rows.front().prefill;
  stats.num_rows = static_cast<int>(batch.rows.size());
  stats.num_tokens = batch.num_tokens;
  stats.num_images = batch.num_images;
  for (const StepOutput& output : result.outputs) {
    stats.num_cached_images += output.num_cached_images;
  }
  stats.vision = result.vision;
  stats.model = result.model;
  observer_->OnStep(stats);
}

void Engine::Publish() {
  num_waiting_ = scheduler_.num_waiting();
  num_running_ = scheduler_.num_running();
  blocks_used_ = kv_.num_used();
  busy_ = !idle_;
}

void Engine::EndAll() {
  TakeInbox();
  while (!in_flight_.empty()) Commit(runner_->Finish());
  Add(scheduler_.EndAll(DrainingStatus()));
  Deliver();
}

}  // namespace paligemma
