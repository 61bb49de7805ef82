// SPDX-License-Identifier: Apache-2.0
// The twin of avx512_vector.h on AVX2.
#ifndef CORE_CPU_AVX2_VECTOR_H_
#define CORE_CPU_AVX2_VECTOR_H_

#include <immintrin.h>

#include <cstdint>

namespace paligemma::cpu {
namespace {

struct Vector {
  static constexpr int kWidth = 8;
  __m256 v;

  static Vector Zero() { return {_mm256_setzero_ps()}; }
  static Vector All(float x) { return {_mm256_set1_ps(x)}; }
  static Vector Load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static Vector LoadFirst(const float* p, int count) {
    return {_mm256_maskload_ps(p, First(count))};
  }
  static Vector FromBits(std::uint32_t bits) {
    return {_mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(bits)))};
  }
  static Vector LoadBfloat16(const std::uint16_t* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16))};
  }
  static Vector LoadInt8(const std::int8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))};
  }
  void Store(float* p) const { _mm256_storeu_ps(p, v); }
  void StoreFirst(float* p, int count) const { _mm256_maskstore_ps(p, First(count), v); }
  void StoreUpperHalves(std::uint16_t* p, int count) const {
    alignas(32) std::uint32_t bits[kWidth];
    _mm256_store_si256(reinterpret_cast<__m256i*>(bits), Bits());
    for (int i = 0; i < count; ++i) {
      p[i] = static_cast<std::uint16_t>(bits[i] >> 16);
    }
  }
  void StoreBytes(std::uint8_t* p, int count) const {
    alignas(32) std::int32_t values[kWidth];
    _mm256_store_si256(reinterpret_cast<__m256i*>(values), _mm256_cvtps_epi32(v));
    for (int i = 0; i < count; ++i) {
      p[i] = static_cast<std::uint8_t>(values[i]);
    }
  }

  friend Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend Vector operator-(Vector a, Vector b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend Vector operator*(Vector a, Vector b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend Vector operator/(Vector a, Vector b) { return {_mm256_div_ps(a.v, b.v)}; }
  static Vector MultiplyAdd(Vector a, Vector b, Vector c) {
    return {_mm256_fmadd_ps(a.v, b.v, c.v)};
  }
  static Vector Max(Vector a, Vector b) { return {_mm256_max_ps(a.v, b.v)}; }
  static Vector Min(Vector a, Vector b) { return {_mm256_min_ps(a.v, b.v)}; }
  Vector Abs() const { return {_mm256_andnot_ps(_mm256_set1_ps(-0.f), v)}; }
  Vector Rounded() const {
    return {_mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  Vector PowerOfTwo() const {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(127));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23))};
  }
  Vector RoundedToBfloat16() const {
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(Bits(), 16), _mm256_set1_epi32(1));
    const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(Bits(), _mm256_set1_epi32(0x7fff)), odd);
    const __m256i rounded = _mm256_and_si256(sum, _mm256_set1_epi32(~0xffff));
    return {_mm256_blendv_ps(_mm256_castsi256_ps(rounded), FromBits(0x7fc00000).v,
                             _mm256_cmp_ps(v, v, _CMP_UNORD_Q))};
  }
  static Vector Less(Vector a, Vector b, Vector yes, Vector no) {
    return {_mm256_blendv_ps(no.v, yes.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
  }
  static Vector CopySign(Vector magnitude, Vector sign) {
    const __m256 bit = _mm256_set1_ps(-0.f);
    return {_mm256_or_ps(_mm256_and_ps(bit, sign.v), _mm256_andnot_ps(bit, magnitude.v))};
  }
  // Without sign bits, signed integers compare as unsigned ones.
  static Vector MaxOfAbs(Vector a, Vector b) {
    return {_mm256_castsi256_ps(_mm256_max_epi32(a.Bits(), b.Bits()))};
  }

  float Sum() const {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }
  float Largest() const {
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  float LargestOfAbs() const {
    const __m128i four =
        _mm_max_epi32(_mm256_castsi256_si128(Bits()), _mm256_extracti128_si256(Bits(), 1));
    const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
    const __m128i one = _mm_max_epi32(two, _mm_shuffle_epi32(two, 0xb1));
    return _mm_cvtss_f32(_mm_castsi128_ps(one));
  }

 private:
  static __m256i First(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  __m256i Bits() const { return _mm256_castps_si256(v); }
};

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_AVX2_VECTOR_H_
