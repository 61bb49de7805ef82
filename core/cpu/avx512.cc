// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/avx512_arithmetic.h"
#include "core/cpu/avx512_vector.h"
#include "core/cpu/kernel_table.h"

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

constinit const Kernels kAvx512Kernels =
    MakeKernels<Float32Arithmetic, WidenedBfloat16Arithmetic, Int8Arithmetic, Int4Arithmetic,
                Fp8Arithmetic<WidenedBfloat16Arithmetic>>();

}  // namespace paligemma::cpu
