// SPDX-License-Identifier: Apache-2.0
// The twin of avx512_vector.h on NEON.
#ifndef CORE_CPU_AARCH64_VECTOR_H_
#define CORE_CPU_AARCH64_VECTOR_H_

#include <arm_neon.h>

#include <cstdint>

namespace paligemma::cpu {
namespace {

struct Vector {
  static constexpr int kWidth = 4;
  float32x4_t v;

  static Vector Zero() { return All(0); }
  static Vector All(float x) { return {vdupq_n_f32(x)}; }
  static Vector Load(const float* p) { return {vld1q_f32(p)}; }
  static Vector LoadFirst(const float* p, int count) {
    float whole[kWidth] = {};
    for (int i = 0; i < count; ++i) {
      whole[i] = p[i];
    }
    return Load(whole);
  }
  static Vector FromBits(std::uint32_t bits) { return {vreinterpretq_f32_u32(vdupq_n_u32(bits))}; }
  static Vector LoadBfloat16(const std::uint16_t* p) {
    return {vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16))};
  }
  static Vector LoadInt8(const std::int8_t* p) {
    const std::int32_t values[kWidth] = {p[0], p[1], p[2], p[3]};
    return {vcvtq_f32_s32(vld1q_s32(values))};
  }
  void Store(float* p) const { vst1q_f32(p, v); }
  void StoreFirst(float* p, int count) const {
    float whole[kWidth];
    Store(whole);
    for (int i = 0; i < count; ++i) {
      p[i] = whole[i];
    }
  }
  void StoreUpperHalves(std::uint16_t* p, int count) const {
    std::uint32_t bits[kWidth];
    vst1q_u32(bits, Bits());
    for (int i = 0; i < count; ++i) {
      p[i] = static_cast<std::uint16_t>(bits[i] >> 16);
    }
  }
  void StoreBytes(std::uint8_t* p, int count) const {
    std::int32_t values[kWidth];
    vst1q_s32(values, vcvtnq_s32_f32(v));
    for (int i = 0; i < count; ++i) {
      p[i] = static_cast<std::uint8_t>(values[i]);
    }
  }

  friend Vector operator+(Vector a, Vector b) { return {vaddq_f32(a.v, b.v)}; }
  friend Vector operator-(Vector a, Vector b) { return {vsubq_f32(a.v, b.v)}; }
  friend Vector operator*(Vector a, Vector b) { return {vmulq_f32(a.v, b.v)}; }
  friend Vector operator/(Vector a, Vector b) { return {vdivq_f32(a.v, b.v)}; }
  static Vector MultiplyAdd(Vector a, Vector b, Vector c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  // Not vmaxq_f32 and vminq_f32, which hand on a NaN of either.
  static Vector Max(Vector a, Vector b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
  static Vector Min(Vector a, Vector b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
  Vector Abs() const { return {vabsq_f32(v)}; }
  Vector Rounded() const { return {vrndnq_f32(v)}; }
  Vector PowerOfTwo() const {
    const int32x4_t exponent = vaddq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(127));
    return {vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23))};
  }
  Vector RoundedToBfloat16() const {
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(Bits(), 16), vdupq_n_u32(1));
    const uint32x4_t sum = vaddq_u32(vaddq_u32(Bits(), vdupq_n_u32(0x7fff)), odd);
    const uint32x4_t rounded = vandq_u32(sum, vdupq_n_u32(0xffff0000));
    return {vreinterpretq_f32_u32(vbslq_u32(vceqq_f32(v, v), rounded, vdupq_n_u32(0x7fc00000)))};
  }
  static Vector Less(Vector a, Vector b, Vector yes, Vector no) {
    return {vbslq_f32(vcltq_f32(a.v, b.v), yes.v, no.v)};
  }
  static Vector CopySign(Vector magnitude, Vector sign) {
    return {vbslq_f32(vdupq_n_u32(0x80000000), sign.v, magnitude.v)};
  }
  static Vector MaxOfAbs(Vector a, Vector b) {
    return {vreinterpretq_f32_u32(vmaxq_u32(a.Bits(), b.Bits()))};
  }

  float Sum() const { return vaddvq_f32(v); }
  float Largest() const { return vmaxvq_f32(v); }
  float LargestOfAbs() const { return __builtin_bit_cast(float, vmaxvq_u32(Bits())); }

 private:
  uint32x4_t Bits() const { return vreinterpretq_u32_f32(v); }
};

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_AARCH64_VECTOR_H_
