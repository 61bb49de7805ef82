// SPDX-License-Identifier: Apache-2.0
#include "core/sched/stopping_criteria.h"

#include <gtest/gtest.h>

namespace paligemma {
namespace {

Sequence After(std::vector<TokenId> output) {
  Sequence sequence;
  sequence.eos = 1;
  sequence.max_tokens = 4;
  sequence.output = std::move(output);
  return sequence;
}

TEST(StoppingCriteriaTest, EosOrTheLimitEndsAnAnswer) {
  EXPECT_EQ(CheckStop(After({})), FinishReason::kNone);
  EXPECT_EQ(CheckStop(After({5})), FinishReason::kNone);
  EXPECT_EQ(CheckStop(After({5, 1})), FinishReason::kStop);
  EXPECT_EQ(CheckStop(After({5, 6, 7, 8})), FinishReason::kMaxTokens);
  EXPECT_EQ(CheckStop(After({5, 6, 7, 1})), FinishReason::kStop);
}

TEST(StoppingCriteriaTest, MoreEndsOfTheModelEndAnAnswerToo) {
  Sequence sequence = After({5, 107});
  EXPECT_EQ(CheckStop(sequence), FinishReason::kNone);
  sequence.output_rules = std::make_shared<OutputRules>(OutputRules{{106, 107}, {}});
  EXPECT_EQ(CheckStop(sequence), FinishReason::kStop);
  sequence.sampling.ignore_eos = true;
  EXPECT_EQ(CheckStop(sequence), FinishReason::kNone);
}

}  // namespace
}  // namespace paligemma
