// SPDX-License-Identifier: Apache-2.0
// The scheduler's policies, one at a time.
#include "core/sched/scheduler.h"

#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kBlockSize = 4;
constexpr TokenId kWord = 9;  // never EOS

class SchedulerTest : public ::testing::Test {
 protected:
  SchedulerTest() { options_.max_batch_delay = milliseconds(0); }

  void Make(int num_blocks = 64) {
    kv_ = std::make_unique<KvCacheManager>(num_blocks, kBlockSize);
    scheduler_ = std::make_unique<Scheduler>(options_, kv_.get());
  }

  // Waits from now on; `prompt` tokens, then up to `max_tokens`.
  void Add(SequenceId id, int prompt = 4, int max_tokens = 8, Priority priority = Priority::kNormal,
           int num_images = 0) {
    auto sequence = std::make_unique<Sequence>();
    sequence->id = id;
    sequence->prompt.assign(prompt, 5);
    sequence->images.resize(num_images);
    sequence->tokens_per_image = 1;
    sequence->max_tokens = max_tokens;
    sequence->priority = priority;
    sequence->arrival = now_;
    scheduler_->Add(std::move(sequence), now_);
  }

  // Plans a step and commits it; the ids of its rows.
  std::vector<SequenceId> Step() {
    Scheduler::Decision decision = scheduler_->Schedule(now_);
    num_preempted_ += decision.num_preempted;
    std::vector<SequenceId> ids;
    for (const BatchRow& row : decision.batch.rows) ids.push_back(row.sequence->id);
    was_prefill_ = !ids.empty() && decision.batch.rows.front().prefill;
    if (ids.empty()) return ids;
    StepResult result;
    result.outputs.resize(ids.size());
    for (StepOutput& output : result.outputs) output.token = kWord;
    scheduler_->Commit(decision.batch.step, std::move(result));
    scheduler_->CheckInvariants();
    return ids;
  }

  SchedulerOptions options_;
  TimePoint now_{std::chrono::hours(1)};
  std::unique_ptr<KvCacheManager> kv_;
  std::unique_ptr<Scheduler> scheduler_;
  bool was_prefill_ = false;
  int num_preempted_ = 0;
};

TEST_F(SchedulerTest, PrefillsWholePromptsTogetherWithinTheTokenBudget) {
  options_.max_batch_tokens = 10;
  Make();
  for (SequenceId id = 1; id <= 3; ++id) Add(id, /*prompt=*/4);
  EXPECT_THAT(Step(), ElementsAre(1, 2));
}

TEST_F(SchedulerTest, RunsAPromptAboveTheBudgetAlone) {
  options_.max_batch_tokens = 10;
  Make();
  Add(1, /*prompt=*/30);
  Add(2);
  EXPECT_THAT(Step(), ElementsAre(1));
}

TEST_F(SchedulerTest, DecodesBetweenTwoPrefills) {
  options_.max_batch_tokens = 4;
  Make();
  Add(1);
  Add(2);
  EXPECT_THAT(Step(), ElementsAre(1));
  EXPECT_TRUE(was_prefill_);
  EXPECT_THAT(Step(), ElementsAre(1));
  EXPECT_FALSE(was_prefill_);
  EXPECT_THAT(Step(), ElementsAre(2));
  EXPECT_THAT(Step(), ElementsAre(1, 2));
}

TEST_F(SchedulerTest, ServesHigherPriorityFirst) {
  options_.max_running = 1;
  Make();
  Add(1, 4, 1, Priority::kLow);
  Add(2, 4, 1, Priority::kNormal);
  Add(3, 4, 1, Priority::kHigh);
  EXPECT_THAT(Step(), ElementsAre(3));
  EXPECT_THAT(Step(), ElementsAre(2));
  EXPECT_THAT(Step(), ElementsAre(1));
}

TEST_F(SchedulerTest, ALowPriorityThatWaitedLongEnoughIsNotOvertaken) {
  options_.max_running = 1;
  options_.ageing = seconds(5);
  Make();
  Add(1, 4, 1, Priority::kLow);
  now_ += seconds(11);  // two levels of priority and a little
  Add(2, 4, 1, Priority::kHigh);
  EXPECT_THAT(Step(), ElementsAre(1));
}

TEST_F(SchedulerTest, WaitsForMoreImagesWhileIdleButNoLongerThanItMay) {
  options_.max_batch_delay = milliseconds(5);
  options_.max_vision_batch = 2;
  Make();
  Add(1, 4, 8, Priority::kNormal, /*num_images=*/1);
  EXPECT_THAT(Step(), IsEmpty());
  EXPECT_EQ(scheduler_->Schedule(now_).wake_up, now_ + milliseconds(5));
  now_ += milliseconds(5);
  EXPECT_THAT(Step(), ElementsAre(1));
}

TEST_F(SchedulerTest, AFullVisionBatchDoesNotWait) {
  options_.max_batch_delay = milliseconds(5);
  options_.max_vision_batch = 2;
  Make();
  for (SequenceId id = 1; id <= 3; ++id) Add(id, 4, 8, Priority::kNormal, /*num_images=*/1);
  EXPECT_THAT(Step(), ElementsAre(1, 2));
}

TEST_F(SchedulerTest, PreemptsTheYoungestAndRunsItAgainLater) {
  Make(/*num_blocks=*/5);
  Add(1, /*prompt=*/7, /*max_tokens=*/8);
  now_ += milliseconds(1);
  Add(2, /*prompt=*/7, /*max_tokens=*/8);
  int steps_of_second = 0;
  for (int i = 0; i < 40 && scheduler_->num_sequences() > 0; ++i) {
    for (const SequenceId id : Step()) steps_of_second += id == 2 ? 1 : 0;
  }
  EXPECT_GT(num_preempted_, 0);
  EXPECT_EQ(scheduler_->num_sequences(), 0);
  EXPECT_EQ(steps_of_second, 8);  // one token each, none lost
  EXPECT_EQ(kv_->num_used(), 0);
}

TEST_F(SchedulerTest, KnowsWhatCanNeverFit) {
  Make(/*num_blocks=*/2);
  Sequence sequence;
  sequence.prompt.assign(4, 5);
  sequence.max_tokens = 5;
  EXPECT_TRUE(scheduler_->FitsEver(sequence));  // 8 positions: the last token is not fed
  sequence.max_tokens = 6;
  EXPECT_FALSE(scheduler_->FitsEver(sequence));
}

}  // namespace
}  // namespace paligemma
