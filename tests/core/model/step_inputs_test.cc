// SPDX-License-Identifier: Apache-2.0
#include "core/model/step_inputs.h"

#include <gmock/gmock.h>

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Sequence MakeSequence(int num_images, std::vector<TokenId> prompt, std::vector<TokenId> output) {
  Sequence sequence;
  sequence.images.resize(num_images);
  sequence.tokens_per_image = 2;
  sequence.prompt = std::move(prompt);
  sequence.output = std::move(output);
  return sequence;
}

TEST(StepInputsTest, PrefillsImagesThenText) {
  const Sequence sequence = MakeSequence(1, {2, 7, 4}, {});
  Batch batch;
  batch.rows.push_back({.sequence = &sequence, .prefill = true, .block_table = {5, 1}});
  const StepInputs inputs = BuildStepInputs(batch, {{6}}, {}, 4);
  EXPECT_THAT(inputs.ids, ElementsAre(-7, -8, 2, 7, 4));
  EXPECT_THAT(inputs.positions, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(inputs.slots, ElementsAre(20, 21, 22, 23, 4));
  EXPECT_THAT(inputs.prefill_start, ElementsAre(0, 5));
  EXPECT_THAT(inputs.prefill_lengths, ElementsAre(5));
  EXPECT_THAT(inputs.context, IsEmpty());
  EXPECT_THAT(inputs.rows, ElementsAre(4));
}

TEST(StepInputsTest, MixesPrefillReplayAndDecode) {
  const Sequence fresh = MakeSequence(0, {2, 4}, {});
  const Sequence preempted = MakeSequence(1, {2}, {8, 9});
  const Sequence running = MakeSequence(0, {2, 5, 4}, {11});
  Batch batch;
  batch.rows.push_back({.sequence = &fresh, .prefill = true, .block_table = {0}});
  batch.rows.push_back({.sequence = &preempted,
                        .prefill = true,
                        .num_cached = 2,
                        .output_index = 2,
                        .block_table = {1, 2}});
  batch.rows.push_back(
      {.sequence = &running, .num_cached = 1, .output_index = 1, .block_table = {3}});
  const StepInputs inputs = BuildStepInputs(batch, {{}, {0}, {}}, {}, 4);
  EXPECT_THAT(inputs.ids, ElementsAre(2, 4, -1, -2, 2, 8, 9, 11));
  EXPECT_THAT(inputs.positions, ElementsAre(0, 1, 0, 1, 2, 3, 4, 3));
  EXPECT_THAT(inputs.slots, ElementsAre(0, 1, 4, 5, 6, 7, 8, 15));
  EXPECT_THAT(inputs.prefill_start, ElementsAre(0, 2, 5));
  EXPECT_THAT(inputs.context, ElementsAre(4, 5, 4));
  EXPECT_EQ(inputs.table_width, 2);
  EXPECT_THAT(inputs.block_table, ElementsAre(1, 2, 1, 2, 3, 0));
  EXPECT_THAT(inputs.rows, ElementsAre(1, 6, 7));
}

TEST(StepInputsTest, TakesAnUnknownTokenFromTheStepBefore) {
  const Sequence sequence = MakeSequence(0, {2, 4}, {8});
  Batch batch;
  batch.rows.push_back({.sequence = &sequence,
                        .first_cached = 1,
                        .num_cached = 1,
                        .input_row = 2,
                        .output_index = 2,
                        .block_table = {0}});
  const StepInputs inputs = BuildStepInputs(batch, {{}}, {30, 31, 32}, 4);
  EXPECT_THAT(inputs.ids, ElementsAre(32));
  EXPECT_THAT(inputs.positions, ElementsAre(3));
}

}  // namespace
}  // namespace paligemma
