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

TEST(IsaTest, SaysWhy) {
  EXPECT_EQ(WhyIsa("reference"), "asked for by --cpu-isa");
  EXPECT_FALSE(WhyIsa("auto").empty());
}

TEST(IsaTest, RefusesNamesThatItDoesNotKnow) {
  EXPECT_EQ(ChooseIsa("sse9").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(ChooseIsa("").status().code(), StatusCode::kInvalidArgument);
}

TEST(IsaTest, RefusesWhatTheMachineLacks) {
  const std::string_view names[] = {"avx2", "avx-vnni", "avx512", "avx512-bf16"};
  const Isa isas[] = {Isa::kAvx2, Isa::kAvxVnni, Isa::kAvx512, Isa::kAvx512Bf16};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(ChooseIsa(names[i]).status().code(),
              CanRun(isas[i]) ? StatusCode::kOk : StatusCode::kFailedPrecondition)
        << names[i];
  }
}

}  // namespace
}  // namespace paligemma::cpu
