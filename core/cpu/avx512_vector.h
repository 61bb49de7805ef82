// SPDX-License-Identifier: Apache-2.0
// A vector of float32 as row_kernels.h and attention_kernel.h use it, on AVX-512. Included by the
// files that are compiled for it; avx2_vector.h is its twin.
#ifndef CORE_CPU_AVX512_VECTOR_H_
#define CORE_CPU_AVX512_VECTOR_H_

#include <immintrin.h>

#include <cstdint>

namespace paligemma::cpu {
namespace {

struct Vector {
  static constexpr int kWidth = 16;
  __m512 v;

  static Vector Zero() { return {_mm512_setzero_ps()}; }
  static Vector All(float x) { return {_mm512_set1_ps(x)}; }
  static Vector Load(const float* p) { return {_mm512_loadu_ps(p)}; }
  // The first `count` values of fewer than kWidth, then zeros.
  static Vector LoadFirst(const float* p, int count) {
    return {_mm512_maskz_loadu_ps(First(count), p)};
  }
  static Vector FromBits(std::uint32_t bits) {
    return {_mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(bits)))};
  }
  static Vector LoadBfloat16(const std::uint16_t* p) {
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16))};
  }
  static Vector LoadInt8(const std::int8_t* p) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
  }
  void Store(float* p) const { _mm512_storeu_ps(p, v); }
  void StoreFirst(float* p, int count) const { _mm512_mask_storeu_ps(p, First(count), v); }
  // The upper halves of the values' bits.
  void StoreUpperHalves(std::uint16_t* p, int count) const {
    _mm512_mask_cvtepi32_storeu_epi16(p, First(count), _mm512_srli_epi32(Bits(), 16));
  }
  // The values as integers, which fit a byte.
  void StoreBytes(std::uint8_t* p, int count) const {
    _mm512_mask_cvtepi32_storeu_epi8(p, First(count), _mm512_cvtps_epi32(v));
  }

  friend Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend Vector operator-(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend Vector operator/(Vector a, Vector b) { return {_mm512_div_ps(a.v, b.v)}; }
  // a * b + c
  static Vector MultiplyAdd(Vector a, Vector b, Vector c) {
    return {_mm512_fmadd_ps(a.v, b.v, c.v)};
  }
  // b where either is NaN.
  static Vector Max(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
  static Vector Min(Vector a, Vector b) { return {_mm512_min_ps(a.v, b.v)}; }
  Vector Abs() const { return {_mm512_abs_ps(v)}; }
  // Ties to even.
  Vector Rounded() const { return {_mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT)}; }
  // 2^n for whole values n from -126 to 127.
  Vector PowerOfTwo() const {
    const __m512i exponent = _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(exponent, 23))};
  }
  // The values rounded to bfloat16, ties to even; a NaN stays one.
  Vector RoundedToBfloat16() const {
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(Bits(), 16), _mm512_set1_epi32(1));
    const __m512i sum = _mm512_add_epi32(_mm512_add_epi32(Bits(), _mm512_set1_epi32(0x7fff)), odd);
    const __m512i rounded = _mm512_and_si512(sum, _mm512_set1_epi32(~0xffff));
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    return {
        _mm512_castsi512_ps(_mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc00000)))};
  }
  // `yes` where a < b, else `no`.
  static Vector Less(Vector a, Vector b, Vector yes, Vector no) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), no.v, yes.v)};
  }
  // The sign of `sign` on the absolute value of `magnitude`.
  static Vector CopySign(Vector magnitude, Vector sign) {
    return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN), sign.Bits(),
                                                          magnitude.Bits(), 0xca))};
  }
  // The larger of values that are not negative, a NaN counting as the largest of all.
  static Vector MaxOfAbs(Vector a, Vector b) {
    return {_mm512_castsi512_ps(_mm512_max_epu32(a.Bits(), b.Bits()))};
  }

  float Sum() const { return _mm512_reduce_add_ps(v); }
  float Largest() const { return _mm512_reduce_max_ps(v); }
  float LargestOfAbs() const {
    const int bits = static_cast<int>(_mm512_reduce_max_epu32(Bits()));
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
  }

 private:
  static __mmask16 First(int count) { return static_cast<__mmask16>((1u << count) - 1); }
  __m512i Bits() const { return _mm512_castps_si512(v); }
};

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_AVX512_VECTOR_H_
