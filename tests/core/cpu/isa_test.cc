// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/isa.h"

#include <gtest/gtest.h>

namespace paligemma::cpu {
namespace {

TEST(IsaTest, AutoTakesTheLargestAndEveryAvailableOneCanBeForced) {
  EXPECT_EQ(*ChooseIsa("auto"), DetectIsa());
  EXPECT_EQ(*ChooseIsa("reference"), Isa::kReference);
  for (const Isa isa : AvailableIsas()) {
    EXPECT_EQ(*ChooseIsa(IsaName(isa)), isa);
    EXPECT_LE(isa, DetectIsa());
  }
}

TEST(IsaTest, RefusesNamesThatItDoesNotKnow) {
  EXPECT_EQ(ChooseIsa("sse9").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ChooseIsa("").status().code(), StatusCode::kInvalidArgument);
}

TEST(IsaTest, RefusesWhatTheMachineLacks) {
  if (DetectIsa() == Isa::kAvx512Bf16) {
    GTEST_SKIP() << "this machine has them all";
  }
  EXPECT_EQ(ChooseIsa("avx512-bf16").status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace paligemma::cpu
