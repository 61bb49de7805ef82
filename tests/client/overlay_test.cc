// SPDX-License-Identifier: Apache-2.0
#include "client/overlay.h"

#include <gtest/gtest.h>

#include "client/png_writer.h"

namespace paligemma::client {
namespace {

RgbImage Filled(int width, int height, std::uint8_t value) {
  return {width, height,
          std::vector<std::uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3,
                                    value)};
}

const std::uint8_t* At(const RgbImage& image, int x, int y) {
  return &image.pixels[3 * (static_cast<size_t>(y) * static_cast<size_t>(image.width) +
                            static_cast<size_t>(x))];
}

v1::DetectedObject MakeObject() {
  v1::DetectedObject object;
  object.set_label("caf\xC3\xA9");
  object.set_score(0.5f);
  object.mutable_pixel_box()->set_x_min(40);
  object.mutable_pixel_box()->set_y_min(60);
  object.mutable_pixel_box()->set_x_max(140);
  object.mutable_pixel_box()->set_y_max(110);
  return object;
}

TEST(OverlayTest, WhatIsWrittenReadsBack) {
  RgbImage image = Filled(5, 3, 0);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i);
  ImageInput input;
  input.encoded = EncodePng(image);
  const auto decoded = DecodeImage(input, ImageLimits(), "image");
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->image.width, 5);
  EXPECT_EQ(decoded->image.pixels, image.pixels);
}

TEST(OverlayTest, ABoxIsDrawnWhereItIs) {
  RgbImage image = Filled(200, 150, 128);
  Objects objects;
  *objects.Add() = MakeObject();
  ASSERT_TRUE(DrawObjects(objects, &image).ok());
  EXPECT_NE(At(image, 40, 90)[0], 128) << "left edge";
  EXPECT_EQ(At(image, 90, 90)[0], 128) << "inside";
  EXPECT_EQ(At(image, 190, 140)[0], 128) << "outside";
}

TEST(OverlayTest, LabelsCanBeReadOnBlackAndOnWhite) {
  for (const int background : {0, 255}) {
    RgbImage image = Filled(200, 150, static_cast<std::uint8_t>(background));
    Objects objects;
    *objects.Add() = MakeObject();
    ASSERT_TRUE(DrawObjects(objects, &image).ok());
    bool black = false, white = false;
    for (int y = 20; y < 56; ++y) {
      for (int x = 40; x < 140; ++x) {
        black = black || At(image, x, y)[0] < 40;
        white = white || At(image, x, y)[0] > 215;
      }
    }
    EXPECT_TRUE(black && white) << background;
  }
}

TEST(OverlayTest, AMaskTintsItsPixelsAlone) {
  RgbImage image = Filled(200, 150, 0);
  RgbImage mask = Filled(100, 50, 255);
  v1::DetectedObject object = MakeObject();
  *object.mutable_mask()->mutable_region() = object.pixel_box();
  object.mutable_mask()->set_png(EncodePng(mask));
  Objects objects;
  *objects.Add() = object;
  ASSERT_TRUE(DrawObjects(objects, &image).ok());
  EXPECT_GT(At(image, 90, 90)[0], 0);
  EXPECT_EQ(At(image, 190, 140)[0], 0);
}

TEST(OverlayTest, BoxesOutsideOfThePictureDoNoHarm) {
  RgbImage image = Filled(20, 10, 128);
  Objects objects;
  *objects.Add() = MakeObject();
  EXPECT_TRUE(DrawObjects(objects, &image).ok());
}

}  // namespace
}  // namespace paligemma::client
