// SPDX-License-Identifier: Apache-2.0
#include "core/vision/resampler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "tests/core/base/sha256.h"
#include "tests/core/vision/pictures.h"

namespace paligemma {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

struct Golden {
  int height, width, size;
  const char* sha256;
};

TEST(ResamplerTest, BicubicEqualsPillowBitForBit) {
  const Golden goldens[] = {
      {480, 640, 224, "a54f816f2de6e97602641bbeee1a1bdbe2c638d914deee7c0b0fa0b07e80a673"},
      {100, 37, 224, "91f93f3bafb53ea74cf476bb4b40134171447b8d614e6e06889444157cf8cc11"},
      {1200, 900, 448, "e8d39bc4c3d6433df7e3935d9072ebded0c4c816dfcd8ac55dd185e3442c22ec"},
      {224, 224, 224, "8d3a66db4c996397a043ec05f5dec7bcedcfa1e4971fd3bea76b33bad046e912"},
      {3000, 17, 896, "e1c6e300be258b73ce1bb658a61595757c472bb525b8710d81b44acd4fa7ba2d"},
      {513, 769, 448, "a599e7deec9de6686da0bd04433068b5b7b39a69af855dc5605b82d5dacbacc4"}};
  for (const Golden& golden : goldens) {
    const auto pixels = ResizeToSquare(Pattern(golden.height, golden.width), golden.size,
                                       Resampling::kPillowBicubic, Padding::kSquash);
    EXPECT_EQ(Sha256(pixels), golden.sha256) << golden.height << " x " << golden.width;
  }
}

TEST(ResamplerTest, TheFirstGoldenHasItsPixelsAndSum) {
  const auto pixels =
      ResizeToSquare(Pattern(480, 640), 224, Resampling::kPillowBicubic, Padding::kSquash);
  EXPECT_THAT(std::vector<int>(pixels.begin(), pixels.begin() + 3), ElementsAre(15, 3, 5));
  EXPECT_THAT(std::vector<int>(pixels.end() - 3, pixels.end()), ElementsAre(189, 159, 37));
  EXPECT_EQ(std::accumulate(pixels.begin(), pixels.end(), 0), 19170754);
}

// Hashes of Pillow 12.0 with BILINEAR.
TEST(ResamplerTest, AntialiasedBilinearEqualsPillowBitForBit) {
  const Golden goldens[] = {
      {480, 640, 224, "5e882c5dcb29cd4409fd1e85157459217b9b4e61726882cf7b797e2244673a36"},
      {100, 37, 224, "77a47ca2f2aa4fd905310d0539cc76a749873561535ddfccf0cae027cd9c0396"},
      {513, 769, 448, "dc5bd1428a79fd83feb2c6f68243503b37e50690455f5f876cda0e4c5c5908a9"}};
  for (const Golden& golden : goldens) {
    const auto pixels = ResizeToSquare(Pattern(golden.height, golden.width), golden.size,
                                       Resampling::kBilinearAntialias, Padding::kSquash);
    EXPECT_EQ(Sha256(pixels), golden.sha256) << golden.height << " x " << golden.width;
  }
}

TEST(ResamplerTest, BilinearTakesFourPixelsAndCutsTheFraction) {
  const RgbImage image{2, 2, {0, 0, 0, 101, 10, 1, 50, 7, 0, 255, 255, 255}};
  const auto pixels = ResizeToSquare(image, 4, Resampling::kBilinear, Padding::kSquash);
  // Row 0 lies above the first centre: only columns mix. 0.25 * 101 = 25.25, 0.75 * 101 = 75.75.
  EXPECT_THAT(std::vector<int>(pixels.begin(), pixels.begin() + 12),
              ElementsAre(0, 0, 0, 25, 2, 0, 75, 7, 0, 101, 10, 1));
  const auto halved = ResizeToSquare(image, 1, Resampling::kBilinear, Padding::kSquash);
  EXPECT_THAT(halved, ElementsAre(101, 68, 64));  // 101.5, 68, 64
}

// The hashes of the formula in NumPy (tests/python_client/test_resize.py).
TEST(ResamplerTest, BilinearEqualsNumpyBitForBit) {
  const Golden goldens[] = {
      {480, 640, 224, "b0256768b8939b03b4dccab839b532579451dd846066dca1cafe645269caa45d"},
      {30, 17, 56, "71096689412d80d1628123a8412f704eb2feb12f5d08f4d20832dcc7cafff8ed"}};
  for (const Golden& golden : goldens) {
    const auto pixels = ResizeToSquare(Pattern(golden.height, golden.width), golden.size,
                                       Resampling::kBilinear, Padding::kSquash);
    EXPECT_EQ(Sha256(pixels), golden.sha256) << golden.height << " x " << golden.width;
  }
}

TEST(ResamplerTest, BilinearWithoutAntialiasingSkipsPixels) {
  RgbImage image = Pattern(8, 8);
  const auto before = ResizeToSquare(image, 2, Resampling::kBilinear, Padding::kSquash);
  image.pixels[0] = 255;  // none of the four around (1.5, 1.5)
  EXPECT_EQ(ResizeToSquare(image, 2, Resampling::kBilinear, Padding::kSquash), before);
}

// The hash of Pillow's ImageOps.pad to 101 x 101 and BICUBIC to 56.
TEST(ResamplerTest, PaddingIsWhiteAndInTheMiddle) {
  const auto pixels =
      ResizeToSquare(Pattern(101, 40), 56, Resampling::kPillowBicubic, Padding::kPadWhite);
  EXPECT_EQ(Sha256(pixels), "e60dfe82152331583984942633871d7b7e76acc58321845136790b5199d392de");
  const auto wide =
      ResizeToSquare(Pattern(1, 3), 3, Resampling::kPillowBicubic, Padding::kPadWhite);
  EXPECT_THAT(std::vector<int>(wide.begin(), wide.begin() + 9), testing::Each(255));
}

TEST(ResamplerTest, ExtremeShapesWork) {
  for (auto [height, width] : {std::pair{1, 1}, {1, 10000}, {10000, 1}}) {
    for (auto resampling :
         {Resampling::kPillowBicubic, Resampling::kBilinear, Resampling::kBilinearAntialias}) {
      EXPECT_EQ(ResizeToSquare(Pattern(height, width), 14, resampling, Padding::kSquash).size(),
                14u * 14 * 3);
    }
  }
}

TEST(ResamplerTest, RowsOfTheSameSizeAreTheInput) {
  std::vector<float> values(12);
  std::iota(values.begin(), values.end(), 0.5f);
  const BilinearRows rows(values, 4, 3, 4, 3);
  std::vector<float> row(4);
  rows.Row(1, row);
  EXPECT_THAT(row, ElementsAreArray({4.5f, 5.5f, 6.5f, 7.5f}));
}

// Levels at random, many of them black or white, so that overshoots must be clamped.
RgbImage Noise(int width, int height, std::mt19937* random) {
  RgbImage image{width, height, {}};
  for (int i = 0; i < width * height * 3; ++i) {
    const auto value = static_cast<std::uint8_t>((*random)());
    image.pixels.push_back(value < 80 ? 0 : value > 176 ? 255 : value);
  }
  return image;
}

TEST(ResamplerTest, PixelsAreTheSameWithAnyInstructions) {
  std::mt19937 random(1);
  std::vector<std::pair<int, int>> sides = {{16384, 3}, {3, 16384}, {224, 100}, {100, 224}};
  for (int width = 1; width <= 9; ++width) sides.emplace_back(width, 10 - width);
  for (int i = 0; i < 40; ++i) sides.emplace_back(1 + random() % 700, 1 + random() % 700);
  for (const auto& [width, height] : sides) {
    const RgbImage image = Noise(width, height, &random);
    for (const int size : {1, 5, 224}) {
      for (auto resampling : {Resampling::kPillowBicubic, Resampling::kBilinearAntialias}) {
        EXPECT_EQ(ResizeToSquare(image, size, resampling, Padding::kSquash),
                  ResizeToSquare(image, size, resampling, Padding::kSquash, ResizeKernels::kPlain))
            << width << " x " << height << " to " << size;
      }
    }
  }
}

}  // namespace
}  // namespace paligemma
