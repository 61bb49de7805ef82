// SPDX-License-Identifier: Apache-2.0
#include "core/answer/mask_maker.h"

#include <algorithm>
#include <string>
#include <utility>

#include "core/vision/mask_renderer.h"

namespace paligemma {
namespace {

static_assert(MaskDecoder::kNumCodes == kNumMaskCodes && MaskDecoder::kSide == kMaskSide);

Status TooManyPixels(std::int64_t value, std::int64_t limit, bool whole_image) {
  const std::string advice =
      whole_image ? "ask for masks over the box, for polygons or codes, or for fewer objects"
                  : "ask for polygons or codes, for fewer objects, or send a smaller picture";
  return Status(StatusCode::kResourceExhausted, Reason::kResponseTooLarge,
                "the masks have " + std::to_string(value) + " pixels, limit " +
                    std::to_string(limit) + "; " + advice,
                {{"field", whole_image ? "mask_extent" : "mask_format"},
                 {"value", std::to_string(value)},
                 {"limit", std::to_string(limit)},
                 {"advice", advice}});
}

}  // namespace

std::int64_t MaskMaker::PriceOf(const Object& object) const {
  const auto area = [](std::int64_t width, std::int64_t height) {
    return std::max<std::int64_t>(width, 0) * std::max<std::int64_t>(height, 0);
  };
  switch (options_.encoding) {
    case MaskEncoding::kNone:
    case MaskEncoding::kCodes:
    case MaskEncoding::kPolygon:
      return 0;
    case MaskEncoding::kPng:
    case MaskEncoding::kRle:
    case MaskEncoding::kSoft:
      break;
  }
  if (options_.whole_image) return area(image_.width, image_.height);
  const PixelBox& box = object.pixel_box;
  return area(box.x_max - box.x_min, box.y_max - box.y_min);
}

Status MaskMaker::Charge(const std::vector<Object>& objects) {
  std::int64_t total = num_charged_;
  for (const Object& object : objects) {
    if (Lacks(object)) total += PriceOf(object);
  }
  if (total > max_pixels_) return TooManyPixels(total, max_pixels_, options_.whole_image);
  num_charged_ = total;
  return OkStatus();
}

Status MaskMaker::Render(const Object& object) {
  ObjectMask& mask = *object.mask;
  if (options_.encoding == MaskEncoding::kCodes) {
    mask.rendered.region = object.pixel_box;
    mask.is_rendered = true;
    return OkStatus();
  }
  PG_ASSIGN_OR_RETURN(const std::vector<float> values,
                      decoder_->Decode(std::vector<int>(mask.codes.begin(), mask.codes.end())));
  PG_ASSIGN_OR_RETURN(mask.rendered,
                      RenderMask(values, object.pixel_box, image_.width, image_.height, options_));
  mask.is_rendered = true;
  return OkStatus();
}

}  // namespace paligemma
