// SPDX-License-Identifier: Apache-2.0
#include "core/base/duration.h"

#include <gtest/gtest.h>

#include <utility>

namespace paligemma {
namespace {

TEST(DurationTest, ReadsBackWhatItWrites) {
  for (const auto& [text, millis] :
       {std::pair("500ms", 500), std::pair("2s", 2000), std::pair("1.5s", 1500),
        std::pair("5m", 300000), std::pair("1h", 3600000), std::pair("0", 0)}) {
    ASSERT_TRUE(ParseDuration(text).ok()) << text;
    EXPECT_EQ(*ParseDuration(text), Millis(millis)) << text;
    EXPECT_EQ(*ParseDuration(FormatDuration(Millis(millis))), Millis(millis)) << text;
  }
  for (const char* text : {"", "5", "s", "-1s", "1d", "1e30h", "nan"}) {
    EXPECT_FALSE(ParseDuration(text).ok()) << text;
  }
}

}  // namespace
}  // namespace paligemma
