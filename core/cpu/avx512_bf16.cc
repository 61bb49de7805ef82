// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/avx512_arithmetic.h"
#include "core/cpu/avx512_vector.h"
#include "core/cpu/kernels.h"
#include "core/cpu/page_kernel.h"
#include "core/cpu/panel_kernel.h"
#include "core/cpu/row_kernels.h"

namespace paligemma::cpu {
namespace {

struct Bfloat16Arithmetic : FloatSums {
  static __m512 MultiplyAdd(__m512 sum, __m512i input, __m512i weights) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(input),
                            reinterpret_cast<__m512bh>(weights));
  }
};

}  // namespace

const Kernels kAvx512Bf16Kernels = {
    .float32_panel = MultiplyPanel<Float32Arithmetic>,
    .bfloat16_panel = MultiplyPanel<Bfloat16Arithmetic>,
    .int8_panel = MultiplyPanel<Int8Arithmetic>,
    .to_bfloat16 = ToBfloat16,
    .quantize = Quantize,
    .rms_norm = RmsNorm,
    .add_rms_norm = AddRmsNorm,
    .layer_norm = LayerNorm,
    .add = Add,
    .gelu_of_sum = GeluOfSum,
    .gelu_times = GeluTimes,
    .rotate = Rotate,
    .round_to_bfloat16 = RoundToBfloat16,
    .softcap = Softcap,
    .softmax = Softmax,
    .attend_float32_pages = AttendPages<float>,
    .attend_bfloat16_pages = AttendPages<std::uint16_t>,
};

}  // namespace paligemma::cpu
