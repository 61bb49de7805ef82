// SPDX-License-Identifier: Apache-2.0
// The weights of one axis of a resize, as Pillow computes them. Private to core/vision.
#ifndef CORE_VISION_RESAMPLE_AXIS_H_
#define CORE_VISION_RESAMPLE_AXIS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace paligemma::vision {

// Pillow's Resample.c: 8 bits of pixel, 2 of overshoot, the rest is fraction.
inline constexpr int kPrecisionBits = 32 - 8 - 2;

// For each output place the input places it is made of, and their weights.
template <typename Weight>
struct AxisWeights {
  std::vector<int> first, count;
  int stride = 0;               // most places of any output
  std::vector<Weight> weights;  // [out, stride]

  int num_outputs() const { return static_cast<int>(first.size()); }
  int first_of(int out) const { return first[static_cast<std::size_t>(out)]; }
  int count_of(int out) const { return count[static_cast<std::size_t>(out)]; }
  const Weight* at(int out) const {
    return weights.data() + static_cast<std::size_t>(out) * static_cast<std::size_t>(stride);
  }
};

using FixedWeights = AxisWeights<std::int32_t>;  // of kPrecisionBits

}  // namespace paligemma::vision

#endif  // CORE_VISION_RESAMPLE_AXIS_H_
