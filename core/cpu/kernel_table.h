// SPDX-License-Identifier: Apache-2.0
// The table of one instruction set, out of its arithmetics and of the kernels that are written once
// for all. Included by the files that are compiled for one instruction set, once each, after
// their vector header.
#ifndef CORE_CPU_KERNEL_TABLE_H_
#define CORE_CPU_KERNEL_TABLE_H_

#include <cstdint>

#include "core/cpu/fp8_kernel.h"
#include "core/cpu/int4_kernel.h"
#include "core/cpu/kernels.h"
#include "core/cpu/page_kernel.h"
#include "core/cpu/panel_kernel.h"
#include "core/cpu/row_kernels.h"
#include "core/cpu/wide_kernel.h"

namespace paligemma::cpu {
namespace {

template <typename Float32, typename Bfloat16, typename Int8, typename Int4, typename Fp8>
constexpr Kernels MakeKernels() {
  return {
      .float32_panel = MultiplyPanel<Float32>,
      .bfloat16_panel = MultiplyNarrowPanel<Bfloat16>,
      .int8_panel = MultiplyNarrowPanel<Int8>,
      .int4_panel = MultiplyInt4Panel<Int4>,
      .fp8_panel = MultiplyFp8Panel<Fp8>,
      .to_bfloat16 = ToBfloat16,
      .bfloat16_row_words = kRowWords<Bfloat16>,
      .bfloat16_row = Bfloat16Row<Bfloat16>,
      .int8_row_words = kRowWords<Int8>,
      .quantize = QuantizeRow<Int8>,
      .quantize_signed = QuantizeSigned,
      .quantize_in_groups = QuantizeInGroups,
      .rms_norm = RmsNorm,
      .add_rms_norm = AddRmsNorm,
      .layer_norm = LayerNorm,
      .add = Add,
      .gelu_of_sum = GeluOfSum,
      .gelu_times = GeluTimes,
      .rotate = Rotate,
      .round_to_bfloat16 = RoundToBfloat16,
      .softcap = Softcap,
      .largest = Largest,
      .sum_of_exp = SumOfExp,
      .softmax = Softmax,
      .attend_float32_pages = AttendPages<float>,
      .attend_bfloat16_pages = AttendPages<std::uint16_t>,
      .attend_int8_pages = AttendPages<std::int8_t>,
  };
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_KERNEL_TABLE_H_
