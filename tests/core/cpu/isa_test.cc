// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/isa.h"

#include <gmock/gmock.h>

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
  for (const Isa isa : KnownIsas()) {
    EXPECT_EQ(ChooseIsa(IsaName(isa)).status().code(),
              CanRun(isa) ? StatusCode::kOk : StatusCode::kFailedPrecondition)
        << IsaName(isa);
  }
}

TEST(IsaTest, ListsTheNamesThatItKnows) {
  const std::string message(ChooseIsa("sse9").status().message());
  for (const Isa isa : KnownIsas()) {
    EXPECT_THAT(message, ::testing::HasSubstr(IsaName(isa)));
  }
}

}  // namespace
}  // namespace paligemma::cpu
