// SPDX-License-Identifier: Apache-2.0
// NEON with dot products of signed bytes: Cortex-A76, Neoverse N1 and later.
#include "core/cpu/aarch64_arithmetic.h"
#include "core/cpu/aarch64_vector.h"
#include "core/cpu/kernel_table.h"

namespace paligemma::cpu {
namespace {

struct Bytes {
  static int32x4_t Add(int32x4_t sum, int8x16_t x, int8x16_t w) { return vdotq_s32(sum, x, w); }
};

}  // namespace

constinit const Kernels kNeonDotKernels =
    MakeKernels<Float32Arithmetic, Bfloat16Arithmetic, SignedInt8Arithmetic<Bytes>,
                DotInt4Arithmetic<Bytes>, Fp8Arithmetic>();

}  // namespace paligemma::cpu
