// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/aarch64_arithmetic.h"
#include "core/cpu/aarch64_vector.h"
#include "core/cpu/kernel_table.h"

namespace paligemma::cpu {
namespace {

struct Bytes {
  static int32x4_t Add(int32x4_t sum, int8x16_t x, int8x16_t w) {
    const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(w));
    const int16x8_t high = vmull_high_s8(x, w);
    return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
  }
};

// Values of at most 15 times bytes of at least -128 make sums of eight products that fit 16 bits.
struct Int4Arithmetic : Int4Sums {
  static float32x4_t MultiplyAdd(float32x4_t sum, const std::uint32_t* x,
                                 const std::uint32_t* correction, const Weights& weights) {
    int16x8_t low = vdupq_n_s16(0), high = low;
    PG_UNROLL for (int i = 0; i < 2 * kInt4Words; ++i) {
      const int8x16_t bytes = Input(x + i);
      low = vmlal_s8(low, vget_low_s8(bytes), vget_low_s8(weights.values[i]));
      high = vmlal_high_s8(high, bytes, weights.values[i]);
    }
    const int32x4_t exact = vaddq_s32(vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)),
                                      vdupq_n_s32(static_cast<std::int32_t>(*correction)));
    return vfmaq_f32(sum, vcvtq_f32_s32(exact), weights.scale);
  }
};

}  // namespace

constinit const Kernels kNeonKernels =
    MakeKernels<Float32Arithmetic, Bfloat16Arithmetic, SignedInt8Arithmetic<Bytes>, Int4Arithmetic,
                Fp8Arithmetic>();

}  // namespace paligemma::cpu
