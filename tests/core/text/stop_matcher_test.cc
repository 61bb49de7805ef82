// SPDX-License-Identifier: Apache-2.0
#include "core/text/stop_matcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace paligemma {
namespace {

using ::testing::Optional;

// All that leaves when `text` comes in pieces of `step` bytes.
std::string Feed(StopMatcher* matcher, std::string_view text, std::size_t step) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += step)
    out += matcher->Append(text.substr(at, step));
  return out + matcher->Flush();
}

TEST(StopMatcherTest, PassesEverythingWithoutStops) {
  StopMatcher matcher({"", ""});
  EXPECT_EQ(matcher.Append("abc"), "abc");
  EXPECT_EQ(matcher.Flush(), "");
  EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcherTest, HoldsBackWhatMayBecomeAStop) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Append("aE"), "a");
  EXPECT_EQ(matcher.Append("N"), "");
  EXPECT_EQ(matcher.Append("x"), "ENx");
  EXPECT_EQ(matcher.Append("E"), "");
  EXPECT_EQ(matcher.Flush(), "E");
  EXPECT_FALSE(matcher.matched());
}

TEST(StopMatcherTest, NothingOfAMatchOrBehindItLeaves) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.Append("a E"), "a ");
  EXPECT_EQ(matcher.Append("ND b"), "");
  EXPECT_THAT(matcher.matched(), Optional(std::string("END")));
  EXPECT_EQ(matcher.Append("c"), "");
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopMatcherTest, TheMatchThatIsCompleteFirstWinsThenTheLongest) {
  StopMatcher first({"abcd", "bc"});
  EXPECT_EQ(Feed(&first, "xabcd", 5), "xa");
  EXPECT_THAT(first.matched(), Optional(std::string("bc")));
  StopMatcher longest({"c", "abc"});
  EXPECT_EQ(Feed(&longest, "xabcd", 5), "x");
  EXPECT_THAT(longest.matched(), Optional(std::string("abc")));
}

TEST(StopMatcherTest, FindsAStopThatBeginsInsideAFailedOne) {
  StopMatcher matcher({"aab"});
  EXPECT_EQ(Feed(&matcher, "aaab", 1), "a");
}

TEST(StopMatcherTest, TheResultDoesNotDependOnHowTheTextIsCut) {
  std::mt19937 random(7);
  const auto letters = [&random](std::size_t size) {
    std::string text;
    while (text.size() < size) text += static_cast<char>('a' + random() % 2);
    return text;
  };
  for (int i = 0; i < 2000; ++i) {
    const std::vector<std::string> stops = {letters(1 + random() % 6), letters(3 + random() % 6)};
    const std::string text = letters(random() % 30);
    StopMatcher whole(stops);
    const std::string expected = Feed(&whole, text, text.size() + 1);
    for (const std::string& stop : stops) EXPECT_EQ(expected.find(stop), std::string::npos);
    EXPECT_TRUE(whole.matched().has_value() || expected == text);
    for (std::size_t step : {1, 2, 5}) {
      StopMatcher cut(stops);
      EXPECT_EQ(Feed(&cut, text, step), expected);
      EXPECT_EQ(cut.matched(), whole.matched());
    }
  }
}

}  // namespace
}  // namespace paligemma
