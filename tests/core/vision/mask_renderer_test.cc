// SPDX-License-Identifier: Apache-2.0
#include "core/vision/mask_renderer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/core/base/sha256.h"
#include "tests/core/vision/pictures.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Exact in every float: the hashes below are of Pillow 12.0 on the same values.
std::vector<float> Waves() {
  std::vector<float> values;
  for (int y = 0; y < kMaskSide; ++y) {
    for (int x = 0; x < kMaskSide; ++x) {
      values.push_back(static_cast<float>((x * x * 7 + y * 13 * x + y * y * 5) % 97 - 48) / 32);
    }
  }
  return values;
}

// A rectangle of 32 x 32 in the field.
std::vector<float> Rectangle() {
  std::vector<float> values(kMaskSide * kMaskSide, -1);
  for (int y = 16; y < 48; ++y) {
    for (int x = 8; x < 40; ++x) values[static_cast<std::size_t>(y * kMaskSide + x)] = 1;
  }
  return values;
}

RenderedMask Render(const std::vector<float>& values, const PixelBox& box,
                    const MaskOptions& options, int width = 1000, int height = 1000) {
  auto mask = RenderMask(values, box, width, height, options);
  EXPECT_TRUE(mask.ok()) << mask.status().ToString();
  return *std::move(mask);
}

// The pixels of a grey PNG.
std::vector<std::uint8_t> Pixels(const std::string& png) {
  const auto decoded = DecodeImage(Encoded(png), {}, "mask");
  EXPECT_TRUE(decoded.ok()) << decoded.status().ToString();
  std::vector<std::uint8_t> grey;
  for (std::size_t i = 0; i < decoded->image.pixels.size(); i += 3)
    grey.push_back(decoded->image.pixels[i]);
  return grey;
}

TEST(MaskRendererTest, MasksEqualPillowsBilinear) {
  struct Golden {
    int width, height;
    float threshold;
    int num_pixels;
    const char* sha256;
  };
  const Golden goldens[] = {
      {64, 64, 0.5f, 2018, "d04dcee7e4f70ee93918df7403652b183aff388d4f8b4224879a4081ce427836"},
      {64, 64, 0.7f, 1493, "939086ba15fffd0d6ab1d35fd27d36d93e2066343d6b84aef4c418306960f71c"},
      {31, 17, 0.5f, 276, "e1252887a1b86e3d13fded97f01e32079c4a590afc76fe032109bab7b3e1736e"},
      {31, 17, 0.7f, 6, "5ad441a0d771a0b1791746951b3ca540bbf51ca9c5dcbc7aa9cf13225c4d9a57"},
      {200, 150, 0.5f, 15034, "1d52dda15766508f8f926bd2e48362e04ac29b0d8841fb70f9e1333b8c48a122"},
      {200, 150, 0.7f, 7905, "6dfe60e0b6a1f0ae05b95a1be6e7dcc95ee5f6fe9d9833e921d4aab48084c63a"},
      {1, 1, 0.5f, 1, "a8100ae6aa1940d0b663bb31cd466142ebbdbd5187131b92d93818987832eb89"},
      {1, 1, 0.7f, 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
      {100, 7, 0.5f, 378, "1b0a552486ba9e860ae0d67a57f8e8800564d0402b481510bf14d59af7853110"}};
  for (const Golden& golden : goldens) {
    const PixelBox box{10, 20, 10 + golden.width, 20 + golden.height};
    const auto mask = Render(Waves(), box, {.threshold = golden.threshold});
    EXPECT_EQ(mask.num_pixels, golden.num_pixels) << golden.width << " " << golden.threshold;
    EXPECT_EQ(Sha256(Pixels(mask.png)), golden.sha256) << golden.width << " " << golden.threshold;
    EXPECT_THAT(mask.region, FieldsAre(10, 20, 10 + golden.width, 20 + golden.height));
  }
}

TEST(MaskRendererTest, AnImageMaskIsTheBoxMaskInItsPlace) {
  const auto mask = Render(Rectangle(), {7, 5, 17, 11}, {.whole_image = true}, 30, 20);
  EXPECT_THAT(mask.region, FieldsAre(0, 0, 30, 20));
  EXPECT_EQ(mask.num_pixels, 13);
  const auto pixels = Pixels(mask.png);
  ASSERT_THAT(pixels, SizeIs(600));
  for (int y = 0; y < 20; ++y) {
    for (int x = 0; x < 30; ++x) {
      const bool inside = (y == 6 && x >= 9 && x < 12) || ((y == 7 || y == 8) && x >= 8 && x < 13);
      EXPECT_EQ(pixels[static_cast<std::size_t>(y * 30 + x)] != 0, inside) << x << " " << y;
    }
  }
}

// Strings of COCO's encoder for the same masks.
TEST(MaskRendererTest, RleIsThatOfCoco) {
  const MaskOptions box{.encoding = MaskEncoding::kRle};
  EXPECT_EQ(Render(Rectangle(), {7, 5, 17, 11}, box).rle_counts, "823100001Of0");
  const MaskOptions image{.encoding = MaskEncoding::kRle, .whole_image = true};
  EXPECT_EQ(Render(Rectangle(), {7, 5, 17, 11}, image, 30, 20).rle_counts, "W52a0100001O]:");
  const std::vector<float> full(kMaskSide * kMaskSide, 1);
  EXPECT_EQ(Render(full, {0, 0, 2, 2}, box).rle_counts, "04");
  EXPECT_THAT(Render(Waves(), {0, 0, 200, 150}, box).rle_counts,
              testing::StartsWith("8420:NHOO=OD134OLM0431LM261JL36NLN52J0:N"));
}

TEST(MaskRendererTest, PolygonsAreContoursAndHoles) {
  std::vector<float> ring = Rectangle();
  for (int y = 24; y < 40; ++y) {
    for (int x = 16; x < 32; ++x) ring[static_cast<std::size_t>(y * kMaskSide + x)] = -1;
  }
  const MaskOptions options{.encoding = MaskEncoding::kPolygon};
  const auto mask = Render(ring, {100, 200, 164, 264}, options);
  ASSERT_THAT(mask.rings, SizeIs(2));
  EXPECT_THAT(mask.rings[0], ElementsAre(108, 216, 108, 247, 139, 247, 139, 216));
  EXPECT_THAT(mask.rings[1], testing::Not(IsEmpty()));
  EXPECT_EQ(mask.num_pixels, 32 * 32 - 16 * 16);
}

TEST(MaskRendererTest, SoftMasksAreTheProbabilitiesOfTheGrid) {
  std::vector<float> values(kMaskSide * kMaskSide, 0);
  values[0] = -3, values[1] = 1, values[2] = 9, values[3] = std::numeric_limits<float>::quiet_NaN();
  const auto mask =
      Render(values, {0, 0, 5, 5}, {.encoding = MaskEncoding::kSoft, .whole_image = true});
  ASSERT_THAT(mask.soft, SizeIs(4096));
  EXPECT_EQ(mask.soft.substr(0, 5), std::string("\0\xFF\xFF\0\x80", 5));
  EXPECT_THAT(mask.region, FieldsAre(0, 0, 5, 5));
}

TEST(MaskRendererTest, EmptyAndInvertedBoxesHaveNoPixels) {
  for (const PixelBox& box : {PixelBox{5, 5, 5, 9}, PixelBox{9, 5, 5, 9}, PixelBox{5, 9, 9, 5}}) {
    for (auto encoding :
         {MaskEncoding::kPng, MaskEncoding::kRle, MaskEncoding::kPolygon, MaskEncoding::kSoft}) {
      const auto mask = Render(Waves(), box, {.encoding = encoding});
      EXPECT_EQ(mask.num_pixels, 0);
      EXPECT_THAT(mask.png + mask.rle_counts + mask.soft, IsEmpty());
    }
    const auto whole =
        Render(Waves(), box, {.encoding = MaskEncoding::kRle, .whole_image = true}, 10, 10);
    EXPECT_EQ(whole.num_pixels, 0);
    EXPECT_EQ(whole.rle_counts, "T3");  // one run of 100
  }
}

TEST(MaskRendererTest, BoxesAreCutToTheImage) {
  const auto mask = Render(Waves(), {-5, -1 << 30, 1 << 30, 1 << 30}, {}, 40, 30);
  EXPECT_THAT(mask.region, FieldsAre(0, 0, 40, 30));
  EXPECT_THAT(Pixels(mask.png), SizeIs(1200));
}

TEST(MaskRendererTest, ValuesThatAreNoNumbersBelongNowhere) {
  const std::vector<float> values(kMaskSide * kMaskSide, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(Render(values, {0, 0, 10, 10}, {}).num_pixels, 0);
}

}  // namespace
}  // namespace paligemma
