// SPDX-License-Identifier: Apache-2.0
// Weight matrices in the order in which the product kernels read them.
//
// Outputs are taken kPanel at a time. A panel is a run of steps, a step is the same few consecutive
// inputs of all its outputs. A kernel thus reads a panel from end to end, and one load brings it
// the same inputs of neighbouring outputs. Outputs and inputs that do not fill a panel or a step
// are zeros.
//
// In most encodings a step is one 32-bit word for each output: one float32, two bfloat16, four int8
// or, in the order 0 2 1 3, four 8-bit floats (fp8: E4M3 without infinities, no NaN). In int4 it is
// a group of 32 inputs: four words for each output, of eight values + 8 each (the lower halves of a
// word's bytes are its first four inputs, the upper halves the others), then the panel's scales of
// this group in bfloat16.
#ifndef CORE_CPU_PACKED_MATRIX_H_
#define CORE_CPU_PACKED_MATRIX_H_

#include <cstdint>

namespace paligemma::cpu {

enum class Encoding { kFloat32, kBfloat16, kInt8, kInt4, kFp8 };

inline constexpr std::int64_t kPanel = 64;
inline constexpr std::int64_t kInt4Group = 32;  // inputs that share a scale
inline constexpr std::int64_t kInt4Words = kInt4Group / 8;

constexpr std::int64_t InputsPerStep(Encoding encoding) {
  switch (encoding) {
    case Encoding::kFloat32:
      return 1;
    case Encoding::kBfloat16:
      return 2;
    case Encoding::kInt8:
    case Encoding::kFp8:
      return 4;
    case Encoding::kInt4:
      return kInt4Group;
  }
  return 0;
}
constexpr std::int64_t WordsPerStep(Encoding encoding) {
  return encoding == Encoding::kInt4 ? kInt4Words * kPanel + kPanel / 2 : kPanel;
}
constexpr std::int64_t NumPanels(std::int64_t outputs) { return (outputs + kPanel - 1) / kPanel; }
constexpr std::int64_t NumSteps(Encoding encoding, std::int64_t inputs) {
  return (inputs + InputsPerStep(encoding) - 1) / InputsPerStep(encoding);
}
// Whether the weights' scale is one for each output, beside the words.
constexpr bool HasOutputScale(Encoding encoding) {
  return encoding == Encoding::kInt8 || encoding == Encoding::kFp8;
}

// Views of memory that belongs to someone else.
struct PackedMatrix {
  Encoding encoding = Encoding::kFloat32;
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  const std::uint32_t* words = nullptr;  // [panels][steps][WordsPerStep]; 64-byte aligned
  const float* scale = nullptr;          // HasOutputScale: [outputs]; else unused
  const std::int32_t* sums = nullptr;    // int8: [panels * kPanel], see PackPanel(); else unused

  std::int64_t num_panels() const { return NumPanels(outputs); }
  std::int64_t num_steps() const { return NumSteps(encoding, inputs); }
  std::int64_t panel_words() const { return num_steps() * WordsPerStep(encoding); }
};

// A whole matrix in rows [outputs, inputs], as bundles store it.
struct PlainMatrix {
  Encoding encoding = Encoding::kFloat32;
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;       // int4: a multiple of kInt4Group
  const void* values = nullptr;  // int4: two values + 8 a byte, the first in its lower half
  const std::uint16_t* group_scales = nullptr;  // int4: bfloat16 [outputs][inputs / kInt4Group]
};

// Fills panel `panel` of `words` from `source`. For int8 also the panel's `sums`: the sum of each
// output's weights (kernels.h says what for). Panels are independent of each other.
void PackPanel(const PlainMatrix& source, std::int64_t panel, std::uint32_t* words,
               std::int32_t* sums);

// Row `output` of the matrix as float32 [inputs], without the scale of an output.
void UnpackRow(const PackedMatrix& matrix, std::int64_t output, float* row);

}  // namespace paligemma::cpu

#endif  // CORE_CPU_PACKED_MATRIX_H_
