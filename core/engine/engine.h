// SPDX-License-Identifier: Apache-2.0
// Runs one replica of the model on one device, on one thread that it owns.
//
// Each round of the loop takes the inbox, plans, starts the planned steps, finishes the oldest one,
// commits it, and delivers. Steps are committed in the order in which they were started; up to
// ModelRunner::depth() are in flight.
//
// Thread safety: public methods are thread safe. Members guarded by mutex_ are shared with callers;
// those of the engine thread need no lock.
#ifndef CORE_ENGINE_ENGINE_H_
#define CORE_ENGINE_ENGINE_H_

#include <atomic>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/base/heartbeat.h"
#include "core/base/mutex.h"
#include "core/base/status.h"
#include "core/kv/kv_cache_manager.h"
#include "core/model/model_runner.h"
#include "core/request/batch.h"
#include "core/request/engine_observer.h"
#include "core/request/sequence.h"
#include "core/sched/scheduler.h"

namespace paligemma {

// Receives the events. The engine thread calls it; it must not block.
class EventReceiver {
 public:
  virtual ~EventReceiver() = default;
  // `when` is the time of the events by the engine's clock.
  virtual void OnEvents(std::vector<StepEvent> events, TimePoint when) = 0;
};

struct EngineStats {
  int waiting_sequences = 0, running_sequences = 0;
  int blocks_used = 0, blocks_total = 0, block_size = 0;
  bool busy = false;  // a step is in flight or can be started
};

class Engine {
 public:
  // Starts the thread. `receiver`, `observer`, `clock` and `heartbeats` must outlive the engine;
  // `observer` and `heartbeats` may be null.
  Engine(const SchedulerOptions& options, std::unique_ptr<ModelRunner> runner,
         EventReceiver* receiver, EngineObserver* observer, const Clock* clock,
         Heartbeats* heartbeats = nullptr);

  // Waits for the steps in flight, ends the remaining sequences with SERVER_DRAINING, and joins the
  // thread.
  ~Engine();

  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Takes the sequences over. Never blocks and never refuses. Each sequence gets exactly one
  // finished event. REQUIRES: FitsEver() of each.
  void Submit(std::vector<std::unique_ptr<Sequence>> sequences) PG_LOCKS_EXCLUDED(mutex_);

  // Ends a sequence with CANCELLED before the next step. Unknown ids are ignored.
  void Cancel(SequenceId id) PG_LOCKS_EXCLUDED(mutex_);

  // Ends a sequence without an error, for a reason that delivery found. Ignores unknown ids.
  void Finish(SequenceId id, FinishReason reason) PG_LOCKS_EXCLUDED(mutex_);

  // Returns true if the sequence could run alone.
  bool FitsEver(const Sequence& sequence) const { return scheduler_.FitsEver(sequence); }
  int max_positions() const { return kv_.num_blocks() * kv_.block_size(); }

  // Waits until no sequence is left and no step is in flight.
  void AwaitIdle() PG_LOCKS_EXCLUDED(mutex_);

  EngineStats Stats() const;

 private:
  struct Inbox {
    std::vector<std::unique_ptr<Sequence>> added;
    std::vector<SequenceId> cancelled;
    std::vector<std::pair<SequenceId, FinishReason>> finished;
    bool empty() const { return added.empty() && cancelled.empty() && finished.empty(); }
  };

  void Loop();  // body of thread_
  bool WaitForWork() PG_LOCKS_EXCLUDED(mutex_);
  void Step();
  void TakeInbox() PG_LOCKS_EXCLUDED(mutex_);
  Batch Plan();
  void Start(Batch batch);
  void Commit(StatusOr<StepResult> result);
  void Fail(StepId step, const Status& status);
  void Add(std::vector<StepEvent> events);
  void Deliver();
  void ObservePreemptions(int count);
  void ObserveStep(const Batch& batch, const StepResult& result);
  void Publish();
  void EndAll();

  Heartbeat heartbeat_;
  EventReceiver* const receiver_;
  EngineObserver* const observer_;
  const Clock* const clock_;

  // Engine thread only.
  std::unique_ptr<ModelRunner> runner_;
  KvCacheManager kv_;
  Scheduler scheduler_;
  std::deque<Batch> in_flight_;    // oldest first; elements keep their address
  std::vector<StepEvent> events_;  // not delivered yet
  bool idle_ = true;               // nothing to start and nothing in flight
  TimePoint wake_up_ = kNoDeadline;

  // Written by the engine thread, read by all.
  std::atomic<int> num_waiting_{0}, num_running_{0}, blocks_used_{0};
  std::atomic<bool> busy_{false};

  mutable Mutex mutex_;
  CondVar work_;
  CondVar rested_;
  Inbox inbox_ PG_GUARDED_BY(mutex_);
  bool is_resting_ PG_GUARDED_BY(mutex_) = false;  // the thread waits for the inbox
  bool stopping_ PG_GUARDED_BY(mutex_) = false;

  std::thread thread_;  // last: joined before what its loop uses is destroyed
};

}  // namespace paligemma

#endif  // CORE_ENGINE_ENGINE_H_
