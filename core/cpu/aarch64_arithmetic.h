// SPDX-License-Identifier: Apache-2.0
// How NEON multiplies (panel_kernel.h, int4_kernel.h). Included by the files that are compiled for
// it. How bytes are multiplied differs, so that integers take a Bytes:
//   static int32x4_t Add(int32x4_t sum, int8x16_t x, int8x16_t w)   adds to each sum the exact
//                                                 products of its four values of x and w
#ifndef CORE_CPU_AARCH64_ARITHMETIC_H_
#define CORE_CPU_AARCH64_ARITHMETIC_H_

#include <arm_neon.h>

#include "core/cpu/kernels.h"
#include "core/cpu/panel_kernel.h"

namespace paligemma::cpu {
namespace {

// 32 registers: 24 sums, four of weights and the input. Up to four rows have 16 sums.
struct NeonArithmetic {
  static constexpr int kWidth = 4, kVectors = 4, kMaxRows = 6, kInputWords = 1;
  static constexpr int kFewRows = 4, kFewSums = 16;
  using Weights = uint32x4_t;
  using Input = uint32x4_t;

  static uint32x4_t LoadWeights(const std::uint32_t* words) { return vld1q_u32(words); }
  static uint32x4_t LoadInput(const std::uint32_t* word) { return vdupq_n_u32(*word); }
};

struct FloatSums : NeonArithmetic {
  using Sum = float32x4_t;

  static float32x4_t Begin(const PanelJob&, int) { return vdupq_n_f32(0); }
  static float32x4_t Resume(const float* partial) { return vld1q_f32(partial); }
  static void Pause(float32x4_t sum, float* partial) { vst1q_f32(partial, sum); }
  static void Finish(const PanelJob&, int, int, float32x4_t sum, float* y) { Pause(sum, y); }
};

struct Float32Arithmetic : FloatSums {
  static float32x4_t MultiplyAdd(float32x4_t sum, uint32x4_t input, uint32x4_t weights) {
    return vfmaq_f32(sum, vreinterpretq_f32_u32(input), vreinterpretq_f32_u32(weights));
  }
};

// Both halves of a word are widened to float32, the first input is added first.
struct Bfloat16Arithmetic : FloatSums {
  static float32x4_t MultiplyAdd(float32x4_t sum, uint32x4_t input, uint32x4_t weights) {
    sum = vfmaq_f32(sum, First(input), First(weights));
    return vfmaq_f32(sum, Second(input), Second(weights));
  }

 private:
  static float32x4_t First(uint32x4_t word) { return vreinterpretq_f32_u32(vshlq_n_u32(word, 16)); }
  static float32x4_t Second(uint32x4_t word) {
    return vreinterpretq_f32_u32(vandq_u32(word, vdupq_n_u32(0xffff0000)));
  }
};

// As in avx512_arithmetic.h: values come out 2^8 times too small, and low ones out of a table.
struct Fp8Arithmetic : FloatSums {
  using Bfloat16 = Bfloat16Arithmetic;
  static constexpr int kVectors = 2, kMaxRows = 4, kInputWords = 2, kFewRows = 0;
  struct Weights {
    uint32x4_t first, second;
  };
  struct Input {
    uint32x4_t first, second;
  };

  static Weights LoadWeights(const std::uint32_t* words) {
    const uint16x8_t bytes = vreinterpretq_u16_u32(vld1q_u32(words));
    return {Decode(vshlq_n_u16(bytes, 8)), Decode(bytes)};
  }
  static void Store(uint32x4_t weights, std::uint32_t* words) { vst1q_u32(words, weights); }
  static Input LoadInput(const std::uint32_t* words) {
    return {FloatSums::LoadInput(words), FloatSums::LoadInput(words + 1)};
  }
  static float32x4_t MultiplyAdd(float32x4_t sum, const Input& input, const Weights& weights) {
    sum = Bfloat16::MultiplyAdd(sum, input.first, weights.first);
    return Bfloat16::MultiplyAdd(sum, input.second, weights.second);
  }
  static void Finish(const PanelJob& job, int, int channel, float32x4_t sum, float* y) {
    const float32x4_t scale = vld1q_f32(job.weight_scale + channel);
    vst1q_f32(y, vmulq_f32(vmulq_f32(sum, vdupq_n_f32(256)), scale));
  }

 private:
  static uint32x4_t Decode(uint16x8_t halves) {
    static constexpr std::uint16_t kSmall[8] = {0,      0x3700, 0x3780, 0x37c0,
                                                0x3800, 0x3820, 0x3840, 0x3860};
    const uint16x8_t magnitude =
        vorrq_u16(vandq_u16(vshrq_n_u16(halves, 4), vdupq_n_u16(0x07f0)), vdupq_n_u16(0x3800));
    const uint16x8_t large = vtstq_u16(halves, vdupq_n_u16(0x7800));
    // The places of a small value's two bytes in the table.
    const uint16x8_t low = vandq_u16(vshrq_n_u16(halves, 8), vdupq_n_u16(7));
    const uint16x8_t places = vmlaq_n_u16(vdupq_n_u16(0x0100), low, 0x0202);
    const uint16x8_t small = vreinterpretq_u16_u8(
        vqtbl1q_u8(vreinterpretq_u8_u16(vld1q_u16(kSmall)), vreinterpretq_u8_u16(places)));
    return vreinterpretq_u32_u16(
        vorrq_u16(vbslq_u16(large, magnitude, small), vandq_u16(halves, vdupq_n_u16(0x8000))));
  }
};

// What int8 sums have in common.
struct Int8Sums : NeonArithmetic {
  using Sum = int32x4_t;

  static int32x4_t Begin(const PanelJob&, int) { return vdupq_n_s32(0); }
  static int32x4_t Resume(const float* partial) {
    return vreinterpretq_s32_f32(vld1q_f32(partial));
  }
  static void Pause(int32x4_t sum, float* partial) {
    vst1q_f32(partial, vreinterpretq_f32_s32(sum));
  }
  static void Finish(const PanelJob& job, int row, int channel, int32x4_t sum, float* y) {
    const float32x4_t scaled = vmulq_n_f32(vcvtq_f32_s32(sum), job.row_scale[row]);
    vst1q_f32(y, vmulq_f32(scaled, vld1q_f32(job.weight_scale + channel)));
  }
};

// Takes the 128 off the bytes of a row, so that both operands are signed.
template <typename Bytes>
struct SignedInt8Arithmetic : Int8Sums {
  using Input = int8x16_t;

  static int8x16_t LoadInput(const std::uint32_t* word) {
    return vreinterpretq_s8_u32(vdupq_n_u32(*word ^ 0x80808080));
  }
  static int32x4_t MultiplyAdd(int32x4_t sum, int8x16_t input, uint32x4_t weights) {
    return Bytes::Add(sum, input, vreinterpretq_s8_u32(weights));
  }
};

// The parts of an int4 arithmetic that do not depend on how bytes are multiplied.
struct Int4Sums {
  static constexpr int kWidth = 4, kFewRows = 1, kVectors = 1;
  using Sum = float32x4_t;
  struct Weights {
    int8x16_t values[2 * kInt4Words];
    float32x4_t scale;
  };

  static Weights Load(const std::uint32_t* words, int channel) {
    Weights weights;
    PG_UNROLL for (int i = 0; i < kInt4Words; ++i) {
      const uint8x16_t word = vreinterpretq_u8_u32(vld1q_u32(words + i * kPanel + channel));
      weights.values[2 * i] = vreinterpretq_s8_u8(vandq_u8(word, vdupq_n_u8(15)));
      weights.values[2 * i + 1] = vreinterpretq_s8_u8(vshrq_n_u8(word, 4));
    }
    const auto* scales = reinterpret_cast<const std::uint16_t*>(words + kInt4Words * kPanel);
    weights.scale = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(scales + channel), 16));
    return weights;
  }
  static float32x4_t Zero() { return vdupq_n_f32(0); }
  static float32x4_t Resume(const float* partial) { return vld1q_f32(partial); }
  static void Store(float32x4_t sum, float* y) { vst1q_f32(y, sum); }
  static float32x4_t Scaled(float32x4_t sum, float row_scale) {
    return vmulq_n_f32(sum, row_scale);
  }
  static int8x16_t Input(const std::uint32_t* word) {
    return vreinterpretq_s8_u32(vdupq_n_u32(*word));
  }
};

// For processors with an instruction that multiplies and adds bytes.
template <typename Bytes>
struct DotInt4Arithmetic : Int4Sums {
  static float32x4_t MultiplyAdd(float32x4_t sum, const std::uint32_t* x,
                                 const std::uint32_t* correction, const Weights& weights) {
    int32x4_t exact = vdupq_n_s32(static_cast<std::int32_t>(*correction));
    PG_UNROLL for (int i = 0; i < 2 * kInt4Words; ++i) {
      exact = Bytes::Add(exact, Input(x + i), weights.values[i]);
    }
    return vfmaq_f32(sum, vcvtq_f32_s32(exact), weights.scale);
  }
};

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_AARCH64_ARITHMETIC_H_
