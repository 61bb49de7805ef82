// SPDX-License-Identifier: Apache-2.0
#include "core/model/sampling_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/request/batch.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;

constexpr int kVocab = 70;

class SamplingInputsTest : public testing::Test {
 protected:
  SamplingInputsTest() : sequences_(3) {
    for (Sequence& sequence : sequences_) sequence.eos = 1;
  }
  // One row for each sequence, which samples output token `index`.
  SamplingInputs Build(int index) const {
    Batch batch;
    for (const Sequence& sequence : sequences_) {
      BatchRow row;
      row.sequence = &sequence;
      row.output_index = index;
      batch.rows.push_back(row);
    }
    return BuildSamplingInputs(batch, kVocab, {});
  }
  // The mask line of each row; -1: none.
  static std::vector<int> Lines(const SamplingInputs& inputs) {
    std::vector<int> lines;
    for (int row = 0; row < 3; ++row) {
      lines.push_back(inputs.controls.const_data_ptr<int>()[8 * row + 1]);
    }
    return lines;
  }
  // The tokens that a line excludes.
  static std::vector<TokenId> Excluded(const SamplingInputs& inputs, int line) {
    const int* words = inputs.masks.const_data_ptr<int>() + line * inputs.masks.size(1);
    std::vector<TokenId> tokens;
    for (int id = 0; id < kVocab; ++id) {
      if ((static_cast<unsigned>(words[id / 32]) >> (id % 32) & 1u) == 0) tokens.push_back(id);
    }
    return tokens;
  }

  std::vector<Sequence> sequences_;
};

TEST_F(SamplingInputsTest, WithoutRulesOnlyMinTokensMasksTheEnd) {
  sequences_[1].sampling.min_tokens = 2;
  const SamplingInputs inputs = Build(1);
  EXPECT_THAT(Lines(inputs), ElementsAre(-1, 0, -1));
  EXPECT_THAT(Excluded(inputs, 0), ElementsAre(1));
  EXPECT_THAT(Lines(Build(2)), ElementsAre(-1, -1, -1));
}

TEST_F(SamplingInputsTest, SuppressedTokensAreMaskedInEveryStep) {
  const auto rules = std::make_shared<OutputRules>(OutputRules{{}, {5, 64}});
  for (Sequence& sequence : sequences_) sequence.output_rules = rules;
  sequences_[2].output_rules = nullptr;
  const SamplingInputs inputs = Build(7);
  EXPECT_THAT(Lines(inputs), ElementsAre(0, 0, -1));
  EXPECT_THAT(Excluded(inputs, 0), ElementsAre(5, 64));
}

TEST_F(SamplingInputsTest, MinTokensMasksEveryEnd) {
  const auto rules = std::make_shared<OutputRules>(OutputRules{{33}, {64}});
  for (Sequence& sequence : sequences_) sequence.output_rules = rules;
  sequences_[0].sampling.min_tokens = 3;
  const SamplingInputs inputs = Build(0);
  EXPECT_THAT(Lines(inputs), ElementsAre(0, 1, 1));
  EXPECT_THAT(Excluded(inputs, 0), ElementsAre(1, 33, 64));
  EXPECT_THAT(Excluded(inputs, 1), ElementsAre(64));
}

TEST_F(SamplingInputsTest, MoreEndsAloneMaskNothing) {
  sequences_[0].output_rules = std::make_shared<OutputRules>(OutputRules{{33}, {}});
  const SamplingInputs inputs = Build(0);
  EXPECT_THAT(Lines(inputs), ElementsAre(-1, -1, -1));
  EXPECT_EQ(inputs.masks.size(0), 0);
}

}  // namespace
}  // namespace paligemma
