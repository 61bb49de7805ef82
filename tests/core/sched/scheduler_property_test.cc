// SPDX-License-Identifier: Apache-2.0
// Random traffic on Scheduler and KvCacheManager with a model whose next token is a function of the
// sequence and what its KV blocks hold: whatever is batched, preempted, retried or looked ahead,
// each output must be that of the sequence alone.
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "core/sched/scheduler.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fake_model_runner.h"

namespace paligemma {
namespace {

using ::testing::ElementsAreArray;

constexpr int kBlockSize = 4;
constexpr int kNumBlocks = 40;

class SchedulerPropertyTest : public ::testing::TestWithParam<std::tuple<int, int>> {
 protected:
  int depth() const { return std::get<0>(GetParam()); }

  int Pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  void AddOne() {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = next_id_++;
    sequence->images.resize(Pick(0, 2));
    sequence->tokens_per_image = 6;
    for (int i = Pick(2, 12); i > 0; --i) sequence->prompt.push_back(Pick(2, 200));
    sequence->max_tokens = Pick(1, 40);
    sequence->sampling.ignore_eos = false;
    sequence->priority = static_cast<Priority>(Pick(0, 2));
    sequence->arrival = now_;
    if (Pick(0, 9) == 0) sequence->deadline = now_ + std::chrono::milliseconds(Pick(1, 60));
    if (Pick(0, 9) == 0) sequence->time_budget = now_ + std::chrono::milliseconds(Pick(1, 60));
    expected_[sequence->id] = FakeModelRunner::Alone(sequence->prompt, sequence->max_tokens);
    ASSERT_TRUE(scheduler_.FitsEver(*sequence));
    scheduler_.Add(std::move(sequence), now_);
  }

  void Take(std::vector<StepEvent> events) {
    for (const StepEvent& event : events) {
      ASSERT_TRUE(expected_.contains(event.sequence));
      ASSERT_FALSE(ended_.contains(event.sequence)) << "an event after the last";
      if (event.has_token) outputs_[event.sequence].push_back(event.output.token);
      if (!event.finished) continue;
      ended_[event.sequence] = event.status.code();
      const auto& expected = expected_[event.sequence];
      const auto& output = outputs_[event.sequence];
      ASSERT_LE(output.size(), expected.size());
      if (event.finish == FinishReason::kStop || event.finish == FinishReason::kMaxTokens) {
        ASSERT_EQ(output.size(), expected.size());
      }
      EXPECT_THAT(output, ElementsAreArray(expected.begin(), expected.begin() + output.size()));
    }
  }

  void Step(bool faults) {
    bool planned = true;
    while (planned && static_cast<int>(in_flight_.size()) < depth()) {
      Scheduler::Decision decision = scheduler_.Schedule(now_);
      num_preempted_ += decision.num_preempted;
      Take(std::move(decision.events));
      planned = !decision.batch.empty();
      if (!planned) break;
      EXPECT_TRUE(decision.batch.rows.size() == 1 || decision.batch.num_tokens <= 40);
      if (faults && Pick(0, 30) == 0) {  // the step cannot be started
        Take(scheduler_.Fail(decision.batch.step, InternalError("injected")).events);
        continue;
      }
      in_flight_.push_back(std::move(decision.batch));
      ASSERT_TRUE(model_.Start(in_flight_.back()).ok());
    }
    scheduler_.CheckInvariants();
    if (in_flight_.empty()) return;
    const Batch batch = std::move(in_flight_.front());
    in_flight_.pop_front();
    StatusOr<StepResult> result = model_.Finish();
    ASSERT_TRUE(result.ok());
    if (faults && Pick(0, 30) == 0) {
      Take(scheduler_.Fail(batch.step, InternalError("injected")).events);
    } else {
      Take(scheduler_.Commit(batch.step, std::move(result).value()));
    }
    scheduler_.CheckInvariants();
  }

  void Disturb() {
    if (next_id_ == 1) return;
    const auto id = static_cast<SequenceId>(Pick(1, static_cast<int>(next_id_) - 1));
    const auto event =
        Pick(0, 1) == 0 ? scheduler_.Cancel(id) : scheduler_.Finish(id, FinishReason::kMaxObjects);
    if (event.has_value()) Take({*event});
    scheduler_.CheckInvariants();
  }

  std::mt19937 random_{static_cast<unsigned>(std::get<1>(GetParam()))};
  TimePoint now_{std::chrono::hours(1)};
  KvCacheManager kv_{kNumBlocks, kBlockSize};
  Scheduler scheduler_{
      SchedulerOptions{.max_running = 8, .max_batch_tokens = 40, .max_vision_batch = 3}, &kv_};
  FakeModelRunner model_{{.depth = depth(), .num_blocks = kNumBlocks, .block_size = kBlockSize}};
  std::deque<Batch> in_flight_;
  SequenceId next_id_ = 1;
  std::map<SequenceId, std::vector<TokenId>> expected_, outputs_;
  std::map<SequenceId, StatusCode> ended_;
  int num_preempted_ = 0;
};

TEST_P(SchedulerPropertyTest, EverySequenceEndsOnceWithTheTokensItHasAlone) {
  for (const bool faults : {false, true}) {
    for (int i = 0; i < 3000; ++i) {
      if (Pick(0, 3) == 0 && scheduler_.num_waiting() < 30) AddOne();
      if (Pick(0, 25) == 0) Disturb();
      Step(faults);
      now_ += std::chrono::milliseconds(Pick(0, 2));
      if (HasFatalFailure()) return;
    }
  }
  for (int i = 0; i < 10000 && scheduler_.num_sequences() > 0; ++i) {
    Step(false);
    now_ += std::chrono::milliseconds(1);
  }
  EXPECT_EQ(ended_.size(), expected_.size());
  EXPECT_EQ(scheduler_.num_sequences(), 0);
  EXPECT_EQ(kv_.num_free(), kNumBlocks);
  EXPECT_GT(num_preempted_, 10) << "too little pressure to prove anything";
}

INSTANTIATE_TEST_SUITE_P(DepthAndSeed, SchedulerPropertyTest,
                         ::testing::Combine(::testing::Values(1, 2),
                                            ::testing::Values(1, 2, 3, 4)));

}  // namespace
}  // namespace paligemma
