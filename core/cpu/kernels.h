// SPDX-License-Identifier: Apache-2.0
// What every instruction set provides: one table of kernels each. Kernels run on the thread that
// calls them, on their part of the work alone; product.h and attention.h share the parts out.
// Internal to core/cpu.
//
// The files that implement the tables are compiled for their instruction set, so they include no
// header with inline functions of its own: the linker could let the whole program use their copy.
#ifndef CORE_CPU_KERNELS_H_
#define CORE_CPU_KERNELS_H_

#include <cstdint>

#include "core/cpu/isa.h"

namespace paligemma::cpu {

// Rows of activations times one panel of a matrix.
struct PanelJob {
  const std::uint32_t* weights = nullptr;     // [steps][kPanel]
  const std::int32_t* weight_sums = nullptr;  // int8: [kPanel]
  const float* weight_scale = nullptr;        // int8: [kPanel]
  const std::uint32_t* rows = nullptr;        // [num_rows][row_stride] words, as many as steps
  std::int64_t row_stride = 0;
  const float* row_scale = nullptr;  // int8: [num_rows]
  int num_rows = 0;
  int num_steps = 0;
  float* y = nullptr;  // [num_rows][y_stride], the first kPanel of each row; overwritten
  std::int64_t y_stride = 0;
};

// The sum of one output runs over the steps in ascending order in one accumulator, whatever the
// number of rows: that is what makes a row's result independent of its batch.
struct Kernels {
  // float32 times float32, fused multiply-adds.
  void (*float32_panel)(const PanelJob& job);
  // bfloat16 times bfloat16, sums in float32.
  void (*bfloat16_panel)(const PanelJob& job);
  // Activations are bytes x + 128, for the multipliers that take unsigned times signed bytes; the
  // 128 times `weight_sums` that this adds is taken off again. Sums are exact; the result is
  // float(sum) * row_scale * weight_scale.
  void (*int8_panel)(const PanelJob& job);

  // Rounds to nearest even. Writes count values, then zeros up to `padded`.
  void (*to_bfloat16)(const float* x, int count, int padded, std::uint16_t* out);
  // Returns the scale, max |x| / 127 (of at least 1e-30, so never zero): x = (byte - 128) * scale.
  // Writes 128 from count to `padded`. NaN and infinities give a scale that hands them on.
  float (*quantize)(const float* x, int count, int padded, std::uint8_t* out);
};

// REQUIRES: isa is at most DetectIsa(), and not kReference.
const Kernels& KernelsFor(Isa isa);

extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
extern const Kernels kAvx512Bf16Kernels;

}  // namespace paligemma::cpu

#endif  // CORE_CPU_KERNELS_H_
