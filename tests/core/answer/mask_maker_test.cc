// SPDX-License-Identifier: Apache-2.0
#include "core/answer/mask_maker.h"

#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/testing/fake_mask_decoder.h"

namespace paligemma {
namespace {

Object ObjectIn(const PixelBox& box) {
  Object object;
  object.pixel_box = box;
  object.mask = std::make_shared<ObjectMask>();
  object.mask->codes[0] = 3;
  return object;
}

MaskMaker Maker(MaskDecoder* decoder, const MaskOptions& options, std::int64_t max_pixels) {
  return MaskMaker(decoder, options, ImageInfo{200, 100, 1, ""}, max_pixels);
}

std::string MetadataOf(const Status& status, const std::string& key) {
  for (const auto& [name, value] : status.metadata()) {
    if (name == key) return value;
  }
  return "";
}

TEST(MaskMakerTest, RendersWhatTheDecoderSays) {
  FakeMaskDecoder decoder;
  MaskMaker maker = Maker(&decoder, {.encoding = MaskEncoding::kRle}, 10'000);
  const Object object = ObjectIn({10, 20, 60, 40});
  EXPECT_TRUE(MaskMaker::Lacks(object));
  ASSERT_TRUE(maker.Charge({object}).ok());
  ASSERT_TRUE(maker.Render(object).ok());
  EXPECT_FALSE(MaskMaker::Lacks(object));
  EXPECT_EQ(object.mask->rendered.num_pixels, 50 * 20);
  EXPECT_EQ(object.mask->rendered.region.x_min, 10);
  EXPECT_EQ(decoder.num_decoded(), 1);
}

TEST(MaskMakerTest, CodesNeedNoDecoder) {
  MaskMaker maker = Maker(nullptr, {.encoding = MaskEncoding::kCodes}, 1);
  const Object object = ObjectIn({10, 20, 60, 40});
  ASSERT_TRUE(maker.Charge({object}).ok());
  ASSERT_TRUE(maker.Render(object).ok());
  EXPECT_EQ(object.mask->rendered.region.y_max, 40);
}

TEST(MaskMakerTest, AllMasksOfARequestShareTheLimit) {
  FakeMaskDecoder decoder;
  MaskMaker maker = Maker(&decoder, {.encoding = MaskEncoding::kPng}, 2500);
  const Object object = ObjectIn({10, 20, 60, 40});  // 1,000 pixels
  EXPECT_TRUE(maker.Charge({object, object}).ok());
  const Status status = maker.Charge({object});
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.reason(), Reason::kResponseTooLarge);
  EXPECT_EQ(MetadataOf(status, "field"), "mask_format");
  EXPECT_EQ(MetadataOf(status, "value"), "3000");
  EXPECT_EQ(MetadataOf(status, "limit"), "2500");
  EXPECT_NE(MetadataOf(status, "advice"), "");
}

TEST(MaskMakerTest, AMaskOverTheImageCountsTheImage) {
  FakeMaskDecoder decoder;
  MaskMaker maker =
      Maker(&decoder, {.encoding = MaskEncoding::kRle, .whole_image = true}, 200 * 100 - 1);
  const Status status = maker.Charge({ObjectIn({10, 20, 60, 40})});
  EXPECT_EQ(MetadataOf(status, "field"), "mask_extent");
  EXPECT_EQ(MetadataOf(status, "value"), "20000");
}

TEST(MaskMakerTest, PolygonsAreNotCounted) {
  FakeMaskDecoder decoder;
  MaskMaker maker = Maker(&decoder, {.encoding = MaskEncoding::kPolygon, .whole_image = true}, 1);
  EXPECT_TRUE(maker.Charge({ObjectIn({10, 20, 60, 40})}).ok());
}

}  // namespace
}  // namespace paligemma
