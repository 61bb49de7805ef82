// SPDX-License-Identifier: Apache-2.0
// The two passes of Pillow's resize with AVX2, equal to the plain ones bit for bit. Private to
// core/vision. Pure functions, thread safe. REQUIRES of all but HaveAvx2(): HaveAvx2().
//
// A weight has 23 bits and a sign, too many for the instruction that multiplies and adds pairs of
// 16 bits. So it is split, weight = 2^15 * high + low with 0 <= low < 2^15; both sums are kept
// apart and joined at the end. Sums may wrap on the way: the result fits 32 bits, as in Pillow.
#ifndef CORE_VISION_RESAMPLE_AVX2_H_
#define CORE_VISION_RESAMPLE_AVX2_H_

#include <cstdint>

#include "core/vision/image_decoder.h"
#include "core/vision/resample_axis.h"

namespace paligemma::vision {

bool HaveAvx2();

// `out` has axis.num_outputs() * image.height pixels.
void ResizeWidthAvx2(const RgbImage& image, const FixedWeights& axis, std::uint8_t* out);
// `out` has image.width * axis.num_outputs() pixels.
void ResizeHeightAvx2(const RgbImage& image, const FixedWeights& axis, std::uint8_t* out);

}  // namespace paligemma::vision

#endif  // CORE_VISION_RESAMPLE_AVX2_H_
