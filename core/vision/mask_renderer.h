// SPDX-License-Identifier: Apache-2.0
// The mask decoder's 64 x 64 values to a mask in the image, encoded as the client asked.
//
// The rule is the evaluator's (semantics 6.3): resized with Pillow's BILINEAR to the pixel box, a
// pixel belongs where the value is > 0; for another threshold t, where (value + 1) / 2 > t. Pure
// functions, thread safe.
#ifndef CORE_VISION_MASK_RENDERER_H_
#define CORE_VISION_MASK_RENDERER_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/request/image.h"

namespace paligemma {

inline constexpr int kMaskSide = 64;  // the decoder's output

enum class MaskEncoding { kPng, kRle, kPolygon, kSoft };

struct MaskOptions {
  MaskEncoding encoding = MaskEncoding::kPng;
  bool whole_image = false;  // the mask covers the image, not only the box
  float threshold = 0.5f;    // of the probability, in (0, 1)
};

struct RenderedMask {
  PixelBox region;              // what the mask covers: the box, cut to the image, or the image
  std::int64_t num_pixels = 0;  // that belong
  // One of these, by the encoding; none for a region without pixels.
  std::string png;         // 8-bit grey, 0 or 255, of the region's size
  std::string rle_counts;  // COCO's compressed string, column-major; its size is the region's
  // Rings x0, y0, x1, y1, ... through the centres of border pixels, in whole pixels of the image;
  // outer contours and holes, to fill by the even-odd rule.
  std::vector<std::vector<float>> rings;
  std::string soft;  // 64 * 64 bytes over the box: round(255 * clip((value + 1) / 2, 0, 1))
};

// `values`: kMaskSide * kMaskSide, row-major; NaN belongs nowhere. An empty or inverted box gives a
// mask without pixels. Needs at most about 3 bytes for each pixel of the region. INTERNAL if an
// encoder fails.
StatusOr<RenderedMask> RenderMask(std::span<const float> values, const PixelBox& box,
                                  int image_width, int image_height, const MaskOptions& options);

}  // namespace paligemma

#endif  // CORE_VISION_MASK_RENDERER_H_
