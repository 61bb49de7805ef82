// SPDX-License-Identifier: Apache-2.0
// NEON with the dot products of unsigned with signed bytes of the i8mm extension: a row's bytes are
// multiplied as they are. Neoverse V1, N2 and later.
#include "core/cpu/aarch64_arithmetic.h"
#include "core/cpu/aarch64_vector.h"
#include "core/cpu/kernel_table.h"

namespace paligemma::cpu {
namespace {

struct Bytes {
  static int32x4_t Add(int32x4_t sum, int8x16_t x, int8x16_t w) { return vdotq_s32(sum, x, w); }
};

struct Int8Arithmetic : Int8Sums {
  static int32x4_t Begin(const PanelJob& job, int channel) {
    return vnegq_s32(vshlq_n_s32(vld1q_s32(job.weight_sums + channel), 7));
  }
  static int32x4_t MultiplyAdd(int32x4_t sum, uint32x4_t input, uint32x4_t weights) {
    return vusdotq_s32(sum, vreinterpretq_u8_u32(input), vreinterpretq_s8_u32(weights));
  }
};

}  // namespace

constinit const Kernels kNeonI8mmKernels =
    MakeKernels<Float32Arithmetic, Bfloat16Arithmetic, Int8Arithmetic, DotInt4Arithmetic<Bytes>,
                Fp8Arithmetic>();

}  // namespace paligemma::cpu
