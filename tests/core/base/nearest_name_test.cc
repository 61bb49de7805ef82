// SPDX-License-Identifier: Apache-2.0
#include "core/base/nearest_name.h"

#include <gtest/gtest.h>

namespace paligemma {
namespace {

TEST(NearestName, FindsTypingErrorsAndNothingElse) {
  const std::vector<std::string> names = {"caption", "detect", "health"};
  EXPECT_EQ(NearestName("captoin", names), "caption");
  EXPECT_EQ(NearestName("detct", names), "detect");
  EXPECT_EQ(NearestName("heallth", names), "health");
  EXPECT_EQ(NearestName("paint", names), "");
  EXPECT_EQ(NearestName("", names), "");
  EXPECT_EQ(NearestName(std::string(1 << 20, 'x'), names), "");
}

}  // namespace
}  // namespace paligemma
