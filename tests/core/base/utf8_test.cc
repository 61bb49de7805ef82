// SPDX-License-Identifier: Apache-2.0
#include "core/base/utf8.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

const std::string kBad = "\xEF\xBF\xBD";

TEST(Utf8Test, AcceptsTextOfEveryLength) {
  EXPECT_TRUE(ValidateUtf8("", "prompt").ok());
  EXPECT_TRUE(ValidateUtf8("a\t\nß€😀\x7F", "prompt").ok());
}

TEST(Utf8Test, RefusesWhatIsNotUtf8AndNul) {
  for (const std::string& text :
       {std::string("\xFF"), std::string("\xC0\x80"), std::string("\xED\xA0\x80"),
        std::string("\xF4\x90\x80\x80"), std::string("a\xE2\x82"), std::string("\x80"),
        std::string("a\0b", 3)}) {
    const Status status = ValidateUtf8(text, "question");
    EXPECT_EQ(status.reason(), Reason::kFieldInvalid);
    EXPECT_THAT(status.metadata(), ElementsAre(Pair("field", "question")));
  }
}

TEST(Utf8Test, AssemblesCharactersFromSingleBytes) {
  Utf8Assembler assembler;
  EXPECT_EQ(assembler.Append("\xF0"), "");
  EXPECT_EQ(assembler.Append("\x9F\x98"), "");
  EXPECT_EQ(assembler.Append("\x80!"), "😀!");
  EXPECT_EQ(assembler.Flush(), "");
}

TEST(Utf8Test, EachByteThatBelongsNowhereBecomesOneReplacement) {
  Utf8Assembler assembler;
  EXPECT_EQ(assembler.Append("\x80x"), kBad + "x");
  EXPECT_EQ(assembler.Append("\xE2\x82"), "");
  EXPECT_EQ(assembler.Append("y"), kBad + kBad + "y");
  EXPECT_EQ(assembler.Append("\xE2\x82"), "");
  EXPECT_EQ(assembler.Flush(), kBad + kBad);
}

}  // namespace
}  // namespace paligemma
