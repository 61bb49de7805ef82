// SPDX-License-Identifier: Apache-2.0
#include "client/fit.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "core/vision/image_decoder.h"
#include "core/vision/resampler.h"

namespace paligemma::client {
namespace {

struct ResizeRule {
  Resampling resampling;
  Padding padding;
};

// Nothing for a rule that this version does not know.
std::optional<ResizeRule> RuleOf(const v1::Model& model) {
  ResizeRule rule{};
  switch (model.resampling()) {
    case v1::RESAMPLING_PILLOW_BICUBIC:
      rule.resampling = Resampling::kPillowBicubic;
      break;
    case v1::RESAMPLING_BILINEAR:
      rule.resampling = Resampling::kBilinear;
      break;
    case v1::RESAMPLING_BILINEAR_ANTIALIAS:
      rule.resampling = Resampling::kBilinearAntialias;
      break;
    default:
      return std::nullopt;
  }
  if (model.padding() == v1::PADDING_UNSPECIFIED || !v1::Padding_IsValid(model.padding()) ||
      model.image_size() <= 0) {
    return std::nullopt;
  }
  rule.padding = model.padding() == v1::PADDING_WHITE ? Padding::kPadWhite : Padding::kSquash;
  return rule;
}

std::vector<v1::Image*> PicturesOf(v1::TaskRequest* task) {
  std::vector<v1::Image*> pictures;
  const auto add = [&](auto* images) {
    for (v1::Image& image : *images) pictures.push_back(&image);
  };
  switch (task->task_case()) {
    case v1::TaskRequest::kCaption:
      add(task->mutable_caption()->mutable_images());
      break;
    case v1::TaskRequest::kAnswer:
      add(task->mutable_answer()->mutable_images());
      break;
    case v1::TaskRequest::kGenerate:
      add(task->mutable_generate()->mutable_images());
      break;
    case v1::TaskRequest::kDetect:
      return {task->mutable_detect()->mutable_image()};
    case v1::TaskRequest::kSegment:
      return {task->mutable_segment()->mutable_image()};
    case v1::TaskRequest::kReadText:
      return {task->mutable_read_text()->mutable_image()};
    case v1::TaskRequest::TASK_NOT_SET:
      break;
  }
  return pictures;
}

// A limit of 0 was not told.
bool Exceeds(const DecodedImage& decoded, std::int64_t num_bytes, const v1::ModelLimits& limits) {
  const RgbImage& image = decoded.image;
  const auto above = [](std::int64_t value, std::int64_t limit) {
    return limit > 0 && value > limit;
  };
  return above(num_bytes, limits.max_image_bytes()) ||
         above(std::int64_t{image.width} * image.height, limits.max_image_pixels()) ||
         above(std::max(image.width, image.height), limits.max_image_side());
}

// As the server: each normalized edge times the size, rounded half to even.
template <typename Located>
void SetPixelBox(const ResizedPicture& full, Located* located) {
  const v1::NormalizedBox& box = located->normalized_box();
  v1::PixelBox* const pixels = located->mutable_pixel_box();
  const auto scaled = [](float edge, int size) {
    return static_cast<int>(std::nearbyint(static_cast<double>(edge) * size));
  };
  pixels->set_x_min(scaled(box.x_min(), full.width));
  pixels->set_y_min(scaled(box.y_min(), full.height));
  pixels->set_x_max(scaled(box.x_max(), full.width));
  pixels->set_y_max(scaled(box.y_max(), full.height));
}

bool Same(const v1::PixelBox& a, const v1::PixelBox& b) {
  return a.x_min() == b.x_min() && a.y_min() == b.y_min() && a.x_max() == b.x_max() &&
         a.y_max() == b.y_max();
}

void RestoreMask(const ResizedPicture& full, const v1::PixelBox& before, const v1::PixelBox& after,
                 v1::Mask* mask) {
  if (Same(mask->region(), before)) {
    *mask->mutable_region() = after;
  } else {
    mask->mutable_region()->Clear();
    mask->mutable_region()->set_x_max(full.width);
    mask->mutable_region()->set_y_max(full.height);
  }
  if (mask->encoding_case() != v1::Mask::kPolygon) return;
  for (v1::Ring& ring : *mask->mutable_polygon()->mutable_rings()) {
    for (int i = 0; i < ring.coordinates_size(); ++i) {
      const int size = i % 2 == 0 ? full.width : full.height;
      ring.set_coordinates(
          i, ring.coordinates(i) * static_cast<float>(size) / static_cast<float>(full.sent));
    }
  }
}

void RestoreInfo(const std::vector<ResizedPicture>& resized, v1::GenerationInfo* info) {
  for (const ResizedPicture& full : resized) {
    if (full.index >= info->images_size()) continue;
    v1::ImageInfo* const image = info->mutable_images(full.index);
    image->set_width(full.width);
    image->set_height(full.height);
    image->set_exif_orientation(full.orientation);
    image->set_mime_type(full.mime_type);
  }
}

template <typename List>
void RestoreObjects(const std::vector<ResizedPicture>& resized, List* objects) {
  for (v1::DetectedObject& object : *objects) RestoreObject(resized, &object);
}

}  // namespace

StatusOr<std::vector<ResizedPicture>> FitPictures(const v1::Model& model, v1::TaskRequest* task) {
  std::vector<ResizedPicture> resized;
  const std::optional<ResizeRule> rule = RuleOf(model);
  if (!rule.has_value()) return resized;
  ImageLimits local;
  local.max_bytes = std::int64_t{1} << 31;
  local.max_pixels = kMaxLocalPixels;
  local.max_side = 1 << 16;
  const std::vector<v1::Image*> pictures = PicturesOf(task);
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    ImageInput input;
    input.encoded = pictures[i]->content();
    const std::string field = "images[" + std::to_string(i) + "].content";
    PG_ASSIGN_OR_RETURN(const DecodedImage decoded, DecodeImage(input, local, field));
    if (!Exceeds(decoded, std::ssize(input.encoded), model.limits())) continue;
    const std::vector<std::uint8_t> pixels =
        ResizeToSquare(decoded.image, model.image_size(), rule->resampling, rule->padding);
    v1::RawPixels* const raw = pictures[i]->mutable_raw();
    raw->set_width(model.image_size());
    raw->set_height(model.image_size());
    raw->set_pixel_format(v1::PIXEL_FORMAT_RGB8);
    raw->set_data(pixels.data(), pixels.size());
    resized.push_back({static_cast<int>(i), decoded.info.width, decoded.info.height,
                       model.image_size(), decoded.info.exif_orientation, decoded.info.mime_type});
  }
  return resized;
}

void RestoreObject(const std::vector<ResizedPicture>& resized, v1::DetectedObject* object) {
  for (const ResizedPicture& full : resized) {
    if (full.index != object->image_index()) continue;
    const v1::PixelBox before = object->pixel_box();
    SetPixelBox(full, object);
    if (object->has_mask()) {
      RestoreMask(full, before, object->pixel_box(), object->mutable_mask());
    }
  }
}

void RestoreResponse(const std::vector<ResizedPicture>& resized, v1::TaskResponse* response) {
  switch (response->result_case()) {
    case v1::TaskResponse::kCaption:
      return RestoreInfo(resized, response->mutable_caption()->mutable_info());
    case v1::TaskResponse::kAnswer:
      return RestoreInfo(resized, response->mutable_answer()->mutable_info());
    case v1::TaskResponse::kDetect:
      RestoreObjects(resized, response->mutable_detect()->mutable_objects());
      return RestoreInfo(resized, response->mutable_detect()->mutable_info());
    case v1::TaskResponse::kSegment:
      RestoreObjects(resized, response->mutable_segment()->mutable_objects());
      return RestoreInfo(resized, response->mutable_segment()->mutable_info());
    case v1::TaskResponse::kReadText:
      for (v1::TextRegion& region : *response->mutable_read_text()->mutable_regions()) {
        if (!resized.empty() && region.has_pixel_box()) SetPixelBox(resized.front(), &region);
      }
      return RestoreInfo(resized, response->mutable_read_text()->mutable_info());
    case v1::TaskResponse::kGenerate:
      for (v1::Candidate& candidate : *response->mutable_generate()->mutable_candidates()) {
        RestoreObjects(resized, candidate.mutable_objects());
      }
      return RestoreInfo(resized, response->mutable_generate()->mutable_info());
    case v1::TaskResponse::RESULT_NOT_SET:
      return;
  }
}

}  // namespace paligemma::client
