// SPDX-License-Identifier: Apache-2.0
#include "core/vision/image_preparer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/vision/resampler.h"
#include "tests/core/vision/pictures.h"

namespace paligemma {
namespace {

ImageSpec Spec() { return ImageSpec{.size = 28, .tokens = 4}; }

std::unique_ptr<ImagePreparer> Preparer() { return *ImagePreparer::Create(Spec(), {}); }

TEST(ImagePreparerTest, GivesUprightResizedPixels) {
  const auto result =
      Preparer()->Prepare(Encoded(ReadPicture("exif6.jpg")), "images[0]", {.use = false});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->info.width, 29);
  EXPECT_EQ(result->info.height, 37);
  EXPECT_EQ(result->image.size, 28);
  EXPECT_FALSE(result->image.use_cache);
  const auto decoded = DecodeImage(Encoded(ReadPicture("exif6.jpg")), {}, "");
  EXPECT_EQ(*result->image.pixels,
            ResizeToSquare(decoded->image, 28, Resampling::kPillowBicubic, Padding::kSquash));
}

TEST(ImagePreparerTest, EqualPixelsHaveOneNameWhateverTheFile) {
  const auto preparer = Preparer();
  const auto key = [&](const char* name) {
    return preparer->Prepare(Encoded(ReadPicture(name)), "images[0]", {})->image.key;
  };
  EXPECT_EQ(key("rgb.png"), key("lossless.webp"));
  EXPECT_NE(key("rgb.png"), key("grey.png"));
}

TEST(ImagePreparerTest, NamesDifferBetweenProcesses) {
  const auto input = Encoded(ReadPicture("rgb.png"));
  EXPECT_NE(Preparer()->Prepare(input, "", {})->image.key,
            Preparer()->Prepare(input, "", {})->image.key);
}

TEST(ImagePreparerTest, EqualPixelsShareTheirNameWithinOneScopeAlone) {
  const auto preparer = Preparer();
  const auto input = Encoded(ReadPicture("rgb.png"));
  const auto key = [&](std::string_view scope) {
    return preparer->Prepare(input, "", {.scope = scope})->image.key;
  };
  EXPECT_EQ(key("first"), key("first"));
  EXPECT_NE(key("first"), key("second"));
  EXPECT_NE(key("first"), key(""));
}

TEST(ImagePreparerTest, ErrorsNameTheField) {
  const Status status = Preparer()->Prepare(Encoded("x"), "images[3]", {}).status();
  EXPECT_EQ(status.reason(), Reason::kImageFormatUnsupported);
  EXPECT_THAT(status.metadata(), testing::Contains(testing::Pair("field", "images[3]")));
}

}  // namespace
}  // namespace paligemma
