// SPDX-License-Identifier: Apache-2.0
#include "server/object_fields.h"

#include "core/vision/mask_renderer.h"

namespace paligemma {
namespace {

MaskEncoding EncodingOf(v1::MaskFormat format) {
  switch (format) {
    case v1::MASK_FORMAT_RLE:
      return MaskEncoding::kRle;
    case v1::MASK_FORMAT_POLYGON:
      return MaskEncoding::kPolygon;
    case v1::MASK_FORMAT_SOFT:
      return MaskEncoding::kSoft;
    case v1::MASK_FORMAT_CODES:
      return MaskEncoding::kCodes;
    case v1::MASK_FORMAT_NONE:
      return MaskEncoding::kNone;
    default:
      return MaskEncoding::kPng;
  }
}

void FillMask(const ObjectMask& mask, MaskEncoding encoding, v1::Mask* out) {
  const RenderedMask& rendered = mask.rendered;
  FillBox(rendered.region, out->mutable_region());
  if (encoding != MaskEncoding::kCodes) {
    out->set_area_pixel_count(static_cast<int>(rendered.num_pixels));
  }
  switch (encoding) {
    case MaskEncoding::kNone:
      break;
    case MaskEncoding::kPng:
      out->set_png(rendered.png);
      break;
    case MaskEncoding::kRle:
      out->mutable_rle()->add_size(rendered.region.y_max - rendered.region.y_min);
      out->mutable_rle()->add_size(rendered.region.x_max - rendered.region.x_min);
      out->mutable_rle()->set_counts(rendered.rle_counts);
      break;
    case MaskEncoding::kPolygon:
      out->mutable_polygon();
      for (const std::vector<float>& ring : rendered.rings) {
        out->mutable_polygon()->add_rings()->mutable_coordinates()->Add(ring.begin(), ring.end());
      }
      break;
    case MaskEncoding::kSoft:
      out->mutable_soft()->set_width(kMaskSide);
      out->mutable_soft()->set_height(kMaskSide);
      out->mutable_soft()->set_probabilities(rendered.soft);
      break;
    case MaskEncoding::kCodes:
      out->mutable_codes()->mutable_indices()->Add(mask.codes.begin(), mask.codes.end());
      break;
  }
}

}  // namespace

void SetObjectOptions(const ResponseOptions& options, Request* request) {
  request->min_score = options.min_score;
  request->mask.encoding = EncodingOf(options.mask_format);
  request->mask.whole_image = options.mask_extent == v1::MASK_EXTENT_IMAGE;
  request->mask.threshold = options.mask_threshold;
}

void FillBox(const Box& box, v1::NormalizedBox* out) {
  out->set_x_min(box.x_min);
  out->set_y_min(box.y_min);
  out->set_x_max(box.x_max);
  out->set_y_max(box.y_max);
}

void FillBox(const PixelBox& box, v1::PixelBox* out) {
  out->set_x_min(box.x_min);
  out->set_y_min(box.y_min);
  out->set_x_max(box.x_max);
  out->set_y_max(box.y_max);
}

void FillObject(const Object& object, v1::MaskFormat format, v1::DetectedObject* out) {
  out->set_label(object.label);
  FillBox(object.box, out->mutable_normalized_box());
  FillBox(object.pixel_box, out->mutable_pixel_box());
  if (object.box_score.has_value()) out->set_box_score(*object.box_score);
  if (object.label_score.has_value()) out->set_label_score(*object.label_score);
  if (object.score.has_value()) out->set_score(*object.score);
  if (object.label_index.has_value()) out->set_label_index(*object.label_index);
  if (object.mask != nullptr) FillMask(*object.mask, EncodingOf(format), out->mutable_mask());
}

}  // namespace paligemma
