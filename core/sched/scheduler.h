// SPDX-License-Identifier: Apache-2.0
// Chooses which sequences run in the next step.
//
// A prompt is prefilled whole, in one step, because each of its keys depends on the whole prompt
// (docs/design.md). Prefill comes first, but two prefill steps never follow each other while a
// sequence decodes. Waiting sequences are served in the order of their arrival. One level of
// priority is worth `ageing` of waiting, so that no sequence starves. When blocks run short, the
// running sequence that comes last in that order is preempted: it gives its blocks back. Later it
// is prefilled again and its own tokens are replayed.
//
// Look-ahead: Schedule() may be called again before the step that it returned is committed. A
// sequence whose newest token is still in flight is then planned with BatchRow::input_row. At most
// two steps are in flight, and they are committed in the order in which they were planned. A
// sequence that ends meanwhile keeps its blocks and its address until its last step is committed.
//
// Thread safety: none; the engine thread owns it. FitsEver() may be called from anywhere.
#ifndef CORE_SCHED_SCHEDULER_H_
#define CORE_SCHED_SCHEDULER_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/base/status.h"
#include "core/kv/kv_cache_manager.h"
#include "core/request/batch.h"
#include "core/request/sequence.h"
#include "core/sched/scheduler_options.h"

namespace paligemma {

class Scheduler {
 public:
  struct Decision {
    Batch batch;                      // may be empty; its blocks are reserved
    std::vector<StepEvent> events;    // sequences that ended because their time was up
    TimePoint wake_up = kNoDeadline;  // with an empty batch: call Schedule() again by then
    int num_preempted = 0;
  };

  // `kv` must outlive the scheduler. REQUIRES: all limits > 0.
  Scheduler(const SchedulerOptions& options, KvCacheManager* kv);

  // Returns true if the sequence could run if it were alone.
  bool FitsEver(const Sequence& sequence) const;

  // Adds a sequence to those that wait. REQUIRES: FitsEver(), max_tokens > 0, an id never used.
  void Add(std::unique_ptr<Sequence> sequence, TimePoint now);

  // Plans a step. Each batch that is not empty must be given to Commit() or Fail() by its StepId.
  Decision Schedule(TimePoint now);

  // Appends one token to each sequence of the step, ends those that are complete, and returns what
  // to tell. REQUIRES: the oldest planned step; one output per row.
  std::vector<StepEvent> Commit(StepId step, StepResult result);

  struct Failure {
    std::vector<StepEvent> events;  // sequences that ended
    int num_retried = 0;            // sequences that wait again
  };
  // Handles a failed step whose culprit is unknown. Its sequences return to the waiting queue and
  // are prefilled in batches of half the size until the faulty one fails alone; that one ends with
  // `status`. REQUIRES: the oldest planned step, or the newest, which was not started.
  Failure Fail(StepId step, const Status& status);

  // End a sequence in any state, and do nothing if it is unknown or has ended.
  std::optional<StepEvent> Cancel(SequenceId id);
  std::optional<StepEvent> Finish(SequenceId id, FinishReason reason);
  // Ends all sequences with `status`.
  std::vector<StepEvent> EndAll(const Status& status);

  int num_waiting() const { return static_cast<int>(waiting_.size()); }
  int num_running() const { return static_cast<int>(running_.size()); }
  int num_in_flight() const { return static_cast<int>(in_flight_.size()); }
  // Returns how many sequences exist, those included that ended with a step in flight.
  int num_sequences() const { return static_cast<int>(entries_.size()); }

  // For tests. Aborts if an invariant is broken.
  void CheckInvariants() const;

 private:
  enum class State { kWaiting, kRunning, kEnded };
  // The order of service: by arrival, shifted by the priority, then by id.
  using Key = std::pair<TimePoint, SequenceId>;

  struct Entry {
    std::unique_ptr<Sequence> sequence;
    Key key;
    State state = State::kWaiting;
    TimePoint added{}, scheduled{};
    int epoch = 0;        // counts retries and preemptions: rows of an older epoch are void
    int in_flight = 0;    // rows planned and not committed, void ones included
    int newest_row = -1;  // its row in the newest step; -1: none in flight

    TimePoint expiry() const { return std::min(sequence->deadline, sequence->time_budget); }
    int num_output() const { return static_cast<int>(sequence->output.size()); }
  };
  struct Row {
    Entry* entry;
    int epoch;
    int output_index;
  };
  struct Step {
    StepId id = 0;
    std::vector<Row> rows;
    bool prefill = false;
  };

  void Expire(TimePoint now, std::vector<StepEvent>* events);
  bool WaitsForImages(TimePoint now, TimePoint* wake_up) const;
  void PlanPrefill(TimePoint now, Batch* batch);
  bool Admits(const Entry& entry, const Batch& batch) const;
  void PlanDecode(Batch* batch, int* num_preempted);
  bool CanDecode(const Entry& entry) const;
  // Returns false if `entry` itself was preempted, or must wait for steps in flight.
  bool ReserveDecode(Entry* entry, int* num_preempted);
  void AddRow(Entry* entry, BatchRow row, Batch* batch);
  void Record(bool prefill, Batch* batch);
  Step TakeStep(StepId id);

  // Removes the rows of a step from the books and calls `visit` with each that is still valid.
  template <typename Visitor>
  void Close(Step step, Visitor visit);
  StepEvent CommitRow(Entry* entry, int output_index, const StepResult& result, StepOutput output);
  void WaitAgain(Entry* entry);
  StepEvent End(Entry* entry, Status status, FinishReason reason);
  StepEvent EndLate(Entry* entry, TimePoint now);
  void Reap(Entry* entry);
  std::string_view Phase(const Entry& entry) const;

  const SchedulerOptions options_;
  KvCacheManager* const kv_;

  std::unordered_map<SequenceId, std::unique_ptr<Entry>> entries_;
  std::map<Key, Entry*> waiting_, running_;              // first served first
  std::set<std::pair<TimePoint, SequenceId>> expiries_;  // of the sequences that have one
  std::deque<Step> in_flight_;                           // oldest first
  StepId last_step_ = 0;
  bool last_was_prefill_ = false;
  int max_prefill_rows_;  // lowered by Fail(), until a prefill succeeds
};

}  // namespace paligemma

#endif  // CORE_SCHED_SCHEDULER_H_
