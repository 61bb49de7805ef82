// SPDX-License-Identifier: Apache-2.0
// Resizes pictures to the square that the vision encoder sees. Pure functions, thread safe. The
// formulas are those of semantics 2.3; the reference's hashes of 2.4 hold bit for bit.
#ifndef CORE_VISION_RESAMPLER_H_
#define CORE_VISION_RESAMPLER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/bundle/manifest.h"
#include "core/vision/image_decoder.h"

namespace paligemma {

// Which instructions to use; the pixels are the same. kPlain is for tests and machines without.
enum class ResizeKernels { kBest, kPlain };

// Resizes to `size` x `size`:
//   kPillowBicubic      Pillow's BICUBIC, antialiased when it shrinks, in its 8-bit fixed point
//   kBilinear           the original inference's: bilinear without antialiasing, float32,
//                       half-pixel centres, cut to uint8 without rounding
//   kBilinearAntialias  Pillow's BILINEAR. The original notebook's is TensorFlow's antialiased
//                       bilinear kept in float; this is that within rounding to 8 bits
// kPadWhite first pads to a square with white, placed as Pillow's ImageOps.pad does: the image in
// the middle, half a pixel rounded to even. REQUIRES: a non-empty image, size > 0.
std::vector<std::uint8_t> ResizeToSquare(const RgbImage& image, int size, Resampling resampling,
                                         Padding padding,
                                         ResizeKernels kernels = ResizeKernels::kBest);

// Pillow's BILINEAR on a single-channel float image (mode "F"), row by row: antialiased when it
// shrinks, double accumulation, float32 between the passes. Holds height * out_width floats.
class BilinearRows {
 public:
  BilinearRows(std::span<const float> pixels, int width, int height, int out_width, int out_height);
  ~BilinearRows();
  BilinearRows(const BilinearRows&) = delete;
  BilinearRows& operator=(const BilinearRows&) = delete;

  // Computes output row `y` into `row`, which has out_width places.
  void Row(int y, std::span<float> row) const;

 private:
  struct Weights;
  const int out_width_;
  std::vector<float> columns_;  // [height, out_width]
  std::unique_ptr<const Weights> vertical_;
};

}  // namespace paligemma

#endif  // CORE_VISION_RESAMPLER_H_
