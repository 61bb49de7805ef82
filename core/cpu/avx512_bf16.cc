// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/avx512_arithmetic.h"
#include "core/cpu/avx512_vector.h"
#include "core/cpu/kernel_table.h"

namespace paligemma::cpu {
namespace {

struct Bfloat16Arithmetic : FloatSums {
  static __m512 MultiplyAdd(__m512 sum, __m512i input, __m512i weights) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(input),
                            reinterpret_cast<__m512bh>(weights));
  }
};

}  // namespace

constinit const Kernels kAvx512Bf16Kernels =
    MakeKernels<Float32Arithmetic, Bfloat16Arithmetic, Int8Arithmetic, Int4Arithmetic,
                Fp8Arithmetic<Bfloat16Arithmetic>>();

}  // namespace paligemma::cpu
