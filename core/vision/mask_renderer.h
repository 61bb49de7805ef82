// SPDX-License-Identifier: Apache-2.0
// Renders the mask decoder's 64 x 64 values as a mask in the image, encoded as the client asked.
//
// The rule is the evaluator's (semantics 6.3): resized with Pillow's BILINEAR to the pixel box, a
// pixel belongs where the value is > 0; for another threshold t, where (value + 1) / 2 > t. Pure
// functions, thread safe.
#ifndef CORE_VISION_MASK_RENDERER_H_
#define CORE_VISION_MASK_RENDERER_H_

#include <span>

#include "core/base/status.h"
#include "core/request/answer.h"
#include "core/request/image.h"

namespace paligemma {

inline constexpr int kMaskSide = 64;  // the decoder's output

// `values`: kMaskSide * kMaskSide, row-major; NaN belongs nowhere. An empty or inverted box gives a
// mask without pixels. Needs at most about 3 bytes for each pixel of the region. INTERNAL if an
// encoder fails, or there is another number of values.
StatusOr<RenderedMask> RenderMask(std::span<const float> values, const PixelBox& box,
                                  int image_width, int image_height, const MaskOptions& options);

}  // namespace paligemma

#endif  // CORE_VISION_MASK_RENDERER_H_
