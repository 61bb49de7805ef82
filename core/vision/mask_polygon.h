// SPDX-License-Identifier: Apache-2.0
// Contours of a binary mask, by OpenCV, which no other file of core sees. Private to core/vision.
#ifndef CORE_VISION_MASK_POLYGON_H_
#define CORE_VISION_MASK_POLYGON_H_

#include <cstdint>
#include <vector>

#include "core/base/status.h"

namespace paligemma::vision {

// `mask`: [height, width], 0 or not. Outer contours and holes, moved by (x, y). Rings of one or two
// pixels have one or two points.
StatusOr<std::vector<std::vector<float>>> MaskRings(const std::vector<std::uint8_t>& mask,
                                                    int width, int height, int x, int y);

}  // namespace paligemma::vision

#endif  // CORE_VISION_MASK_POLYGON_H_
