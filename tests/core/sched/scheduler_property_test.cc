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

namespace paligemma {
namespace {

using ::testing::ElementsAreArray;

constexpr int kBlockSize = 4;
constexpr int kNumBlocks = 40;

TokenId NextToken(TokenId seed, TokenId last, int index) {
  const std::uint32_t mixed = (static_cast<std::uint32_t>(seed) * 2654435761u) ^
                              (static_cast<std::uint32_t>(last) * 40503u + index * 97u);
  return static_cast<TokenId>((mixed >> 7) % 23);  // 1 is EOS
}

std::vector<TokenId> Alone(const Sequence& sequence) {
  std::vector<TokenId> output;
  TokenId last = sequence.prompt.back();
  for (int i = 0; i < sequence.sampling.max_tokens; ++i) {
    last = NextToken(sequence.prompt[0], last, i);
    output.push_back(last);
    if (last == sequence.eos) break;
  }
  return output;
}

// Executes rows on a memory of slots, as a real runner does, and checks what the seam promises.
class SlotModel {
 public:
  StepResult Run(const Batch& batch) {
    StepResult result;
    for (const BatchRow& row : batch.rows) result.outputs.push_back(RunRow(row));
    previous_ = result.outputs;
    return result;
  }

 private:
  StepOutput RunRow(const BatchRow& row) {
    const Sequence& sequence = *row.sequence;
    const int prompt = sequence.num_prompt_tokens();
    if (row.prefill) {
      for (int i = 0; i < prompt; ++i) Slot(row, i) = {sequence.id, Prompt(sequence, i)};
      EXPECT_EQ(row.first_cached, 0);
    }
    EXPECT_EQ(row.output_index, row.first_cached + row.num_cached);
    for (int i = 0; i < row.num_cached; ++i) {
      const int index = row.first_cached + i;
      const bool ahead = row.input_row >= 0 && i + 1 == row.num_cached;
      const TokenId token = ahead ? previous_.at(row.input_row).token : sequence.output.at(index);
      Slot(row, prompt + index) = {sequence.id, token};
    }
    const int end = prompt + row.output_index;
    for (int i = 0; i < end; ++i) {
      EXPECT_EQ(Slot(row, i).first, sequence.id) << "position " << i << " holds another sequence";
    }
    StepOutput output;
    output.token = NextToken(sequence.prompt[0], Slot(row, end - 1).second, row.output_index);
    return output;
  }

  static TokenId Prompt(const Sequence& sequence, int position) {
    const int text = position - sequence.num_image_tokens();
    return text < 0 ? 0 : sequence.prompt[text];
  }

  std::pair<SequenceId, TokenId>& Slot(const BatchRow& row, int position) {
    return slots_[row.block_table.at(position / kBlockSize) * kBlockSize + position % kBlockSize];
  }

  std::map<int, std::pair<SequenceId, TokenId>> slots_;
  std::vector<StepOutput> previous_;
};

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
    sequence->sampling.max_tokens = Pick(1, 40);
    sequence->sampling.ignore_eos = false;
    sequence->priority = static_cast<Priority>(Pick(0, 2));
    sequence->arrival = now_;
    if (Pick(0, 9) == 0) sequence->deadline = now_ + std::chrono::milliseconds(Pick(1, 60));
    if (Pick(0, 9) == 0) sequence->time_budget = now_ + std::chrono::milliseconds(Pick(1, 60));
    expected_[sequence->id] = Alone(*sequence);
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
        if (!scheduler_.Retry(decision.batch, false)) {
          Take(scheduler_.FailUnstarted(decision.batch, InternalError("injected")));
        }
        continue;
      }
      in_flight_.push_back(std::move(decision.batch));
      results_.push_back(model_.Run(in_flight_.back()));
    }
    scheduler_.CheckInvariants();
    if (in_flight_.empty()) return;
    const Batch batch = std::move(in_flight_.front());
    in_flight_.pop_front();
    StepResult result = std::move(results_.front());
    results_.pop_front();
    if (faults && Pick(0, 30) == 0) {
      if (!scheduler_.Retry(batch, true)) Take(scheduler_.Fail(batch, InternalError("injected")));
    } else {
      Take(scheduler_.Commit(batch, std::move(result)));
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
  SlotModel model_;
  std::deque<Batch> in_flight_;
  std::deque<StepResult> results_;
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
