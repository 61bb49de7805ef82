// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/avx512_arithmetic.h"
#include "core/cpu/avx512_vector.h"
#include "core/cpu/kernels.h"
#include "core/cpu/page_kernel.h"
#include "core/cpu/panel_kernel.h"
#include "core/cpu/row_kernels.h"

namespace paligemma::cpu {
namespace {

// Without bfloat16 instructions: both halves of a word are widened to float32, the first input is
// added first.
struct WidenedBfloat16Arithmetic : FloatSums {
  static __m512 MultiplyAdd(__m512 sum, __m512i input, __m512i weights) {
    sum = _mm512_fmadd_ps(First(input), First(weights), sum);
    return _mm512_fmadd_ps(Second(input), Second(weights), sum);
  }
  static __m512 First(__m512i word) { return _mm512_castsi512_ps(_mm512_slli_epi32(word, 16)); }
  static __m512 Second(__m512i word) {
    return _mm512_castsi512_ps(_mm512_and_si512(word, _mm512_set1_epi32(~0xffff)));
  }
};

}  // namespace

const Kernels kAvx512Kernels = {
    .float32_panel = MultiplyPanel<Float32Arithmetic>,
    .bfloat16_panel = MultiplyPanel<WidenedBfloat16Arithmetic>,
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
