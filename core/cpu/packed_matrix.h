// SPDX-License-Identifier: Apache-2.0
// Weight matrices in the order in which the product kernels read them.
//
// Outputs are taken kPanel at a time. A panel is a run of steps, a step is one 32-bit word for each
// of its outputs, and a word holds as many consecutive inputs as fit: one float32, two bfloat16 or
// four int8. A kernel thus reads a panel from end to end, and one load brings it the same inputs of
// neighbouring outputs. Outputs and inputs that do not fill a panel or a word are zeros.
#ifndef CORE_CPU_PACKED_MATRIX_H_
#define CORE_CPU_PACKED_MATRIX_H_

#include <cstdint>

namespace paligemma::cpu {

enum class Encoding { kFloat32, kBfloat16, kInt8 };

inline constexpr std::int64_t kPanel = 64;

constexpr std::int64_t InputsPerWord(Encoding encoding) {
  return encoding == Encoding::kFloat32 ? 1 : encoding == Encoding::kBfloat16 ? 2 : 4;
}
constexpr std::int64_t NumPanels(std::int64_t outputs) { return (outputs + kPanel - 1) / kPanel; }
constexpr std::int64_t NumSteps(Encoding encoding, std::int64_t inputs) {
  return (inputs + InputsPerWord(encoding) - 1) / InputsPerWord(encoding);
}

// Views of memory that belongs to someone else. Element [o, i] of the matrix is value
// i % InputsPerWord of word [o / kPanel][i / InputsPerWord][o % kPanel].
struct PackedMatrix {
  Encoding encoding = Encoding::kFloat32;
  std::int64_t outputs = 0;
  std::int64_t inputs = 0;
  const std::uint32_t* words = nullptr;  // [panels][steps][kPanel]; 64-byte aligned
  const float* scale = nullptr;          // int8: [outputs]; else unused
  const std::int32_t* sums = nullptr;    // int8: [panels * kPanel], see PackPanel(); else unused

  std::int64_t num_panels() const { return NumPanels(outputs); }
  std::int64_t num_steps() const { return NumSteps(encoding, inputs); }
};

// Fills panel `panel` of `words` from `source`, the whole matrix in rows [outputs, inputs]. For
// int8 also the panel's `sums`: the sum of each output's weights (kernels.h says what for). Panels
// are independent of each other.
void PackPanel(Encoding encoding, const void* source, std::int64_t outputs, std::int64_t inputs,
               std::int64_t panel, std::uint32_t* words, std::int32_t* sums);

// Row `output` of the matrix as float32 [inputs], for int8 without the scale.
void UnpackRow(const PackedMatrix& matrix, std::int64_t output, float* row);

}  // namespace paligemma::cpu

#endif  // CORE_CPU_PACKED_MATRIX_H_
