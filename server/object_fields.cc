// SPDX-License-Identifier: Apache-2.0
#include "server/object_fields.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "core/vision/mask_renderer.h"

namespace paligemma {
namespace {

void SetBoxes(const ParsedObject& parsed, const ImageInfo& image, v1::DetectedObject* object) {
  const Box box = NormalizedBox(parsed.bins);
  v1::NormalizedBox* const normalized = object->mutable_normalized_box();
  normalized->set_x_min(box.x_min);
  normalized->set_y_min(box.y_min);
  normalized->set_x_max(box.x_max);
  normalized->set_y_max(box.y_max);
  const PixelBox pixels = ToPixelBox(parsed.bins, image.width, image.height);
  v1::PixelBox* const out = object->mutable_pixel_box();
  out->set_x_min(pixels.x_min);
  out->set_y_min(pixels.y_min);
  out->set_x_max(pixels.x_max);
  out->set_y_max(pixels.y_max);
}

struct LogprobSum {
  double sum = 0;
  int count = 0;
  float Score() const { return static_cast<float>(std::exp(sum / count)); }
};

LogprobSum SumOf(const SequenceResult& sequence, int begin, int end) {
  LogprobSum total;
  const int size = static_cast<int>(sequence.logprobs.size());
  for (int i = begin; i < std::min(end, size); ++i) {
    total.sum += sequence.logprobs[static_cast<size_t>(i)].logprob;
    ++total.count;
  }
  return total;
}

void SetScores(const ParsedObject& parsed, const SequenceResult& sequence,
               v1::DetectedObject* object) {
  const LogprobSum box = SumOf(sequence, parsed.locations_begin, parsed.locations_end);
  const LogprobSum label = SumOf(sequence, parsed.label_begin, parsed.label_end);
  const LogprobSum all{box.sum + label.sum, box.count + label.count};
  if (box.count > 0) object->set_box_score(box.Score());
  if (label.count > 0) object->set_label_score(label.Score());
  if (all.count > 0) object->set_score(all.Score());
}

// Trimmed, ASCII letters in lower case.
std::string Folded(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return "";
  std::string folded(text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1));
  for (char& c : folded) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return folded;
}

void SetRegion(const PixelBox& box, v1::Mask* mask) {
  mask->mutable_region()->set_x_min(box.x_min);
  mask->mutable_region()->set_y_min(box.y_min);
  mask->mutable_region()->set_x_max(box.x_max);
  mask->mutable_region()->set_y_max(box.y_max);
}

MaskEncoding EncodingOf(v1::MaskFormat format) {
  switch (format) {
    case v1::MASK_FORMAT_RLE:
      return MaskEncoding::kRle;
    case v1::MASK_FORMAT_POLYGON:
      return MaskEncoding::kPolygon;
    case v1::MASK_FORMAT_SOFT:
      return MaskEncoding::kSoft;
    default:
      return MaskEncoding::kPng;
  }
}

}  // namespace

v1::DetectedObject ObjectFields(const ParsedObject& parsed, const SequenceResult& sequence,
                                const ImageInfo& image, const std::vector<std::string>& labels) {
  v1::DetectedObject object;
  object.set_label(parsed.label);
  SetBoxes(parsed, image, &object);
  SetScores(parsed, sequence, &object);
  const std::string folded = Folded(parsed.label);
  for (size_t i = 0; i < labels.size(); ++i) {
    if (Folded(labels[i]) != folded) continue;
    object.set_label_index(static_cast<int>(i));
    break;
  }
  return object;
}

Status FillMask(const ResponseOptions& options, const ParsedObject& parsed,
                std::span<const float> logits, const ImageInfo& image, v1::Mask* mask) {
  const PixelBox box = ToPixelBox(parsed.bins, image.width, image.height);
  if (options.mask_format == v1::MASK_FORMAT_CODES) {
    SetRegion(box, mask);
    if (parsed.codes.has_value()) {
      mask->mutable_codes()->mutable_indices()->Add(parsed.codes->begin(), parsed.codes->end());
    }
    return OkStatus();
  }
  MaskOptions render;
  render.whole_image = options.mask_extent == v1::MASK_EXTENT_IMAGE;
  render.threshold = options.mask_threshold;
  render.encoding = EncodingOf(options.mask_format);
  PG_ASSIGN_OR_RETURN(RenderedMask rendered,
                      RenderMask(logits, box, image.width, image.height, render));
  SetRegion(rendered.region, mask);
  mask->set_area_pixel_count(static_cast<int>(rendered.num_pixels));
  switch (render.encoding) {
    case MaskEncoding::kPng:
      mask->set_png(std::move(rendered.png));
      break;
    case MaskEncoding::kRle:
      mask->mutable_rle()->add_size(rendered.region.y_max - rendered.region.y_min);
      mask->mutable_rle()->add_size(rendered.region.x_max - rendered.region.x_min);
      mask->mutable_rle()->set_counts(std::move(rendered.rle_counts));
      break;
    case MaskEncoding::kPolygon:
      mask->mutable_polygon();
      for (const std::vector<float>& ring : rendered.rings) {
        mask->mutable_polygon()->add_rings()->mutable_coordinates()->Add(ring.begin(), ring.end());
      }
      break;
    case MaskEncoding::kSoft:
      mask->mutable_soft()->set_width(kMaskSide);
      mask->mutable_soft()->set_height(kMaskSide);
      mask->mutable_soft()->set_probabilities(std::move(rendered.soft));
      break;
  }
  return OkStatus();
}

}  // namespace paligemma
