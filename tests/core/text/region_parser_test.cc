// SPDX-License-Identifier: Apache-2.0
#include "core/text/region_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/core/text/tiny_model.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<TokenId> Tokens(std::string_view text) {
  return *TinyTokenizer().EncodeWithLocations(text);
}

ParsedRegions Parse(std::string_view text, bool cut = false, bool require_codes = false) {
  return ParseRegions(TinyTokenizer(), Tokens(text), cut, {.require_codes = require_codes});
}

std::string Codes(int count, int first = 0) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    std::string digits = std::to_string(first + i);
    text += "<seg" + std::string(3 - digits.size(), '0') + digits + ">";
  }
  return text;
}

const std::string kBox = "<loc0100><loc0200><loc0300><loc0400>";

TEST(RegionParserTest, ReadsTheReferenceExample) {
  const auto parsed = Parse("<loc0051><loc0309><loc0708><loc0646> shoe");
  ASSERT_THAT(parsed.objects, SizeIs(1));
  EXPECT_THAT(parsed.objects[0].bins, ElementsAre(51, 309, 708, 646));
  EXPECT_EQ(parsed.objects[0].label, "shoe");
  EXPECT_THAT(ToPixelBox(parsed.objects[0].bins, 1000, 800), FieldsAre(302, 40, 631, 553));
  EXPECT_EQ(parsed.num_dropped, 0);
}

TEST(RegionParserTest, ReadsSeveralObjectsAndTrimsTheirLabels) {
  const auto parsed = Parse("<loc0000><loc0000><loc1023><loc1023> cat ; " + kBox + " dog");
  ASSERT_THAT(parsed.objects, SizeIs(2));
  EXPECT_EQ(parsed.objects[0].label, "cat");
  EXPECT_EQ(parsed.objects[1].label, "dog");
  EXPECT_THAT(ToPixelBox(parsed.objects[0].bins, 640, 480), FieldsAre(0, 0, 639, 480));
  EXPECT_THAT(ToPixelBox(parsed.objects[1].bins, 640, 480), FieldsAre(125, 47, 250, 141));
}

TEST(RegionParserTest, PixelsRoundHalfToEven) {
  EXPECT_THAT(ToPixelBox({1, 3, 5, 7}, 512, 512), FieldsAre(2, 0, 4, 2));
  const Box box = NormalizedBox({0, 512, 768, 1023});
  EXPECT_EQ(box.x_min, 0.5f);
  EXPECT_EQ(box.y_max, 0.75f);
  EXPECT_EQ(box.x_max, 1023.0f / 1024);
}

TEST(RegionParserTest, ReadsMaskCodes) {
  const auto parsed = Parse(kBox + " " + Codes(16, 5) + " car ; " + kBox + Codes(16), false, true);
  ASSERT_THAT(parsed.objects, SizeIs(2));
  EXPECT_EQ(parsed.objects[0].label, "car");
  EXPECT_EQ(parsed.objects[0].codes->front(), 5);
  EXPECT_EQ(parsed.objects[0].codes->back(), 20);
  EXPECT_EQ(parsed.objects[1].label, "");
}

TEST(RegionParserTest, ThreeLocationsAreNoBox) {
  const auto parsed = Parse("<loc0001><loc0002><loc0003> cat");
  EXPECT_THAT(parsed.objects, IsEmpty());
  EXPECT_EQ(parsed.num_dropped, 1);
}

TEST(RegionParserTest, TruncatedCodesDropTheObject) {
  for (bool cut : {false, true}) {
    const auto parsed = Parse(kBox + Codes(5) + " car", cut);
    EXPECT_THAT(parsed.objects, IsEmpty());
    EXPECT_EQ(parsed.num_dropped, 1);
  }
  EXPECT_EQ(Parse(kBox + Codes(5)).num_dropped, 1);
  EXPECT_EQ(Parse(kBox + Codes(5) + kBox + " b").num_dropped, 1);
}

TEST(RegionParserTest, InvertedAndEmptyBoxesAreDropped) {
  const auto parsed =
      Parse("<loc0300><loc0200><loc0100><loc0400> a ; <loc0001><loc0005><loc0009><loc0005> b ; " +
            kBox + " c");
  ASSERT_THAT(parsed.objects, SizeIs(1));
  EXPECT_EQ(parsed.objects[0].label, "c");
  EXPECT_EQ(parsed.num_dropped, 2);
}

TEST(RegionParserTest, AnExactRepetitionIsDropped) {
  const auto parsed = Parse(kBox + " cat ; " + kBox + " cat ; " + kBox + " dog");
  EXPECT_THAT(parsed.objects, SizeIs(2));
  EXPECT_EQ(parsed.num_dropped, 1);
}

TEST(RegionParserTest, EmptyAndPlainTextHoldNothing) {
  EXPECT_THAT(Parse("").objects, IsEmpty());
  EXPECT_THAT(Parse("no object ; here").objects, IsEmpty());
  EXPECT_THAT(Parse(Codes(16)).objects, IsEmpty());
  EXPECT_EQ(Parse("no object ; here").num_dropped, 0);
}

TEST(RegionParserTest, ACutOutputLosesItsOpenObject) {
  const auto parsed = Parse(kBox + " cat ; " + kBox + " do", /*cut=*/true);
  ASSERT_THAT(parsed.objects, SizeIs(1));
  EXPECT_EQ(parsed.num_dropped, 1);
}

TEST(RegionParserTest, SegmentDropsWhatHasNoMask) {
  const auto parsed = Parse(kBox + " cat" + Codes(16), false, /*require_codes=*/true);
  EXPECT_THAT(parsed.objects, IsEmpty());
  EXPECT_EQ(parsed.num_dropped, 1);
}

TEST(RegionParserTest, LocationsThatFollowEachOtherMakeBoxesOfFour) {
  const auto parsed = Parse(kBox + "<loc0000><loc0000><loc0001><loc0001> b");
  ASSERT_THAT(parsed.objects, SizeIs(2));
  EXPECT_EQ(parsed.objects[0].label, "");
  EXPECT_EQ(parsed.objects[1].label, "b");
}

TEST(RegionParserTest, ObjectsAppearAsTheyClose) {
  RegionParser parser(TinyManifest().tokens, {});
  const auto append = [&parser](std::string_view text) {
    for (TokenId token : Tokens(text)) parser.Append(token, TinyTokenizer().TokenBytes(token));
    return parser.objects().size();
  };
  EXPECT_EQ(append(kBox + " cat"), 0u);
  EXPECT_EQ(append(";"), 1u);
  EXPECT_EQ(append(" " + kBox), 1u);
  EXPECT_EQ(append("<loc0000>"), 2u);
  parser.Finish(false);
  EXPECT_EQ(parser.num_dropped(), 1);
}

TEST(RegionParserTest, TokenRangesCoverLocationsAndLabel) {
  const std::string text = "x" + kBox + " cat ; ";
  const std::vector<TokenId> tokens = Tokens(text);
  const auto parsed = Parse(text);
  ASSERT_THAT(parsed.objects, SizeIs(1));
  const ParsedObject& object = parsed.objects[0];
  EXPECT_EQ(object.locations_begin, 1);
  EXPECT_EQ(object.locations_end, 5);
  std::string label;
  for (int i = object.label_begin; i < object.label_end; ++i) {
    label += TinyTokenizer().TokenBytes(tokens[static_cast<std::size_t>(i)]);
  }
  EXPECT_THAT(label, testing::HasSubstr("cat"));
  EXPECT_THAT(label, testing::Not(testing::HasSubstr(";")));
}

TEST(RegionParserTest, TextThatLooksLikeALocationIsText) {
  const auto tokens = *TinyTokenizer().EncodePlain(kBox + " cat");
  const auto parsed = ParseRegions(TinyTokenizer(), tokens, false, {});
  EXPECT_THAT(parsed.objects, IsEmpty());
}

}  // namespace
}  // namespace paligemma
