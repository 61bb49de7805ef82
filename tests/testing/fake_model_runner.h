// SPDX-License-Identifier: Apache-2.0
// A model whose next token is a function of the prompt and of what the sequence's KV blocks hold.
// It executes rows on a memory of slots, as a real runner does, so that a wrong block table, a
// shared block or a bad replay gives a wrong token or a failed expectation.
#ifndef TESTS_TESTING_FAKE_MODEL_RUNNER_H_
#define TESTS_TESTING_FAKE_MODEL_RUNNER_H_

#include <deque>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "core/base/mutex.h"
#include "core/model/model_runner.h"

namespace paligemma {

// Holds a runner back until it is opened; open from the start. Thread safe.
class Gate {
 public:
  void Close() PG_LOCKS_EXCLUDED(mutex_);
  void Open() PG_LOCKS_EXCLUDED(mutex_);
  // Waits while the gate is closed.
  void Pass() PG_LOCKS_EXCLUDED(mutex_);
  // Waits until somebody waits in Pass().
  void AwaitVisitor() PG_LOCKS_EXCLUDED(mutex_);

 private:
  Mutex mutex_;
  CondVar changed_;
  bool open_ PG_GUARDED_BY(mutex_) = true;
  int visitors_ PG_GUARDED_BY(mutex_) = 0;
};

class FakeModelRunner final : public ModelRunner {
 public:
  struct Options {
    int depth = 1;
    int num_blocks = 64;
    int block_size = 4;
    Gate* gate = nullptr;                 // passed before each Finish()
    std::map<int, Status> failures = {};  // by number of the step, from 0: what Finish() returns
    // A row with which no step succeeds.
    std::function<bool(const BatchRow&)> is_poison = nullptr;
    Duration step_time{};  // what a step says that it took
  };

  static constexpr TokenId kEos = 1;

  explicit FakeModelRunner(Options options) : options_(std::move(options)) {}

  // What `sequence` generates when it is alone.
  static std::vector<TokenId> Alone(const std::vector<TokenId>& prompt, int max_tokens);

  Status Start(const Batch& batch) override;
  StatusOr<StepResult> Finish() override;
  int depth() const override { return options_.depth; }
  int num_kv_blocks() const override { return options_.num_blocks; }
  int kv_block_size() const override { return options_.block_size; }

 private:
  using Slot = std::pair<SequenceId, TokenId>;  // who wrote it, and the token

  StepOutput RunRow(const BatchRow& row);
  Slot& SlotAt(const BatchRow& row, int position);

  const Options options_;
  std::deque<StatusOr<StepResult>> started_;
  std::vector<StepOutput> previous_;  // of the step that was started before
  std::map<int, Slot> slots_;
  int num_finished_ = 0;
};

}  // namespace paligemma

#endif  // TESTS_TESTING_FAKE_MODEL_RUNNER_H_
