// SPDX-License-Identifier: Apache-2.0
#include "client/fit.h"

#include <gmock/gmock.h>

#include <functional>
#include <vector>

#include "client/png_writer.h"
#include "core/vision/resampler.h"

namespace paligemma::client {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

v1::Model SmallModel() {
  v1::Model model;
  model.set_image_size(28);
  model.set_resampling(v1::RESAMPLING_PILLOW_BICUBIC);
  model.set_padding(v1::PADDING_SQUASH);
  model.mutable_limits()->set_max_image_pixels(1000);
  return model;
}

RgbImage Picture() {
  RgbImage image{60, 50, {}};
  for (int i = 0; i < 60 * 50 * 3; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i * 7));
  return image;
}

v1::TaskRequest DetectTask() {
  v1::TaskRequest task;
  task.mutable_detect()->mutable_image()->set_content(EncodePng(Picture()));
  return task;
}

TEST(FitTest, ALargePictureIsWhatTheModelSees) {
  v1::TaskRequest task = DetectTask();
  const auto resized = FitPictures(SmallModel(), &task);
  ASSERT_TRUE(resized.ok()) << resized.status().ToString();
  ASSERT_THAT(*resized, SizeIs(1));
  EXPECT_EQ(resized->front().width, 60);
  EXPECT_EQ(resized->front().height, 50);
  EXPECT_EQ(resized->front().mime_type, "image/png");
  const v1::RawPixels& raw = task.detect().image().raw();
  const auto pixels = ResizeToSquare(Picture(), 28, Resampling::kPillowBicubic, Padding::kSquash);
  EXPECT_EQ(raw.data(), std::string(pixels.begin(), pixels.end()));
  EXPECT_EQ(raw.width(), 28);
}

TEST(FitTest, WhatFitsOrHasNoKnownRuleIsLeftAlone) {
  for (const auto& change : std::vector<std::function<void(v1::Model*)>>{
           [](v1::Model* m) { m->mutable_limits()->set_max_image_pixels(3000); },
           [](v1::Model* m) { m->clear_limits(); },
           [](v1::Model* m) { m->set_resampling(static_cast<v1::Resampling>(99)); },
           [](v1::Model* m) { m->set_padding(v1::PADDING_UNSPECIFIED); }}) {
    v1::Model model = SmallModel();
    change(&model);
    v1::TaskRequest task = DetectTask();
    const auto resized = FitPictures(model, &task);
    ASSERT_TRUE(resized.ok());
    EXPECT_THAT(*resized, IsEmpty());
    EXPECT_TRUE(task.detect().image().has_content());
  }
}

TEST(FitTest, BoxesAndRegionsAreThoseOfTheFullPicture) {
  const std::vector<ResizedPicture> resized = {{0, 1300, 900, 28, 6, "image/jpeg"}};
  v1::TaskResponse response;
  response.mutable_segment()->mutable_info()->add_images()->set_width(28);
  v1::DetectedObject* const object = response.mutable_segment()->add_objects();
  object->mutable_normalized_box()->set_x_min(0.25f);
  object->mutable_normalized_box()->set_y_min(0.125f);
  object->mutable_normalized_box()->set_x_max(513 / 1024.f);
  object->mutable_normalized_box()->set_y_max(0.75f);
  object->mutable_pixel_box()->set_x_min(7);
  object->mutable_mask()->mutable_region()->set_x_min(7);
  RestoreResponse(resized, &response);
  const v1::PixelBox& box = object->pixel_box();
  EXPECT_EQ(box.x_min(), 325);
  EXPECT_EQ(box.y_min(), 112);  // 112.5 to even
  EXPECT_EQ(box.x_max(), 651);
  EXPECT_EQ(box.y_max(), 675);
  EXPECT_EQ(object->mask().region().x_max(), 651);
  EXPECT_EQ(response.segment().info().images(0).width(), 1300);
  EXPECT_EQ(response.segment().info().images(0).exif_orientation(), 6);
}

TEST(FitTest, ADamagedPictureIsNamed) {
  v1::TaskRequest task;
  task.mutable_detect()->mutable_image()->set_content("\xFF\xD8\xFF\xE0");
  EXPECT_EQ(FitPictures(SmallModel(), &task).status().reason(), Reason::kImageCorrupt);
}

}  // namespace
}  // namespace paligemma::client
