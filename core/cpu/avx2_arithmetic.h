// SPDX-License-Identifier: Apache-2.0
// How AVX2 multiplies floats (panel_kernel.h). Included by the files that are compiled for it.
#ifndef CORE_CPU_AVX2_ARITHMETIC_H_
#define CORE_CPU_AVX2_ARITHMETIC_H_

#include <immintrin.h>

#include "core/cpu/kernels.h"
#include "core/cpu/panel_kernel.h"

namespace paligemma::cpu {
namespace {

inline __m256i LoadWords(const void* words) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(words));
}

inline void StoreWords(__m256i words, std::uint32_t* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
}

// Keeps a sum where it is computed. GCC loads the inputs of all rows first and then has no
// registers left for the sums.
template <typename Sum>
inline Sum Hold(Sum sum) {
  asm volatile("" : "+x"(sum));
  return sum;
}

// Twelve sums leave room for the operands.
struct FloatSums {
  static constexpr int kWidth = 8, kVectors = 2, kMaxRows = 6, kInputWords = 1;
  static constexpr int kFewRows = 4, kFewSums = 8;
  using Weights = __m256i;
  using Input = __m256i;
  using Sum = __m256;

  static __m256i LoadWeights(const std::uint32_t* words) { return LoadWords(words); }
  static __m256i LoadInput(const std::uint32_t* word) {
    return _mm256_set1_epi32(static_cast<int>(*word));
  }
  static __m256 Begin(const PanelJob&, int) { return _mm256_setzero_ps(); }
  static __m256 Resume(const float* partial) { return _mm256_loadu_ps(partial); }
  static void Pause(__m256 sum, float* partial) { _mm256_storeu_ps(partial, sum); }
  static void Finish(const PanelJob&, int, int, __m256 sum, float* y) { Pause(sum, y); }
};

struct Float32Arithmetic : FloatSums {
  static __m256 MultiplyAdd(__m256 sum, __m256i input, __m256i weights) {
    return Hold(_mm256_fmadd_ps(_mm256_castsi256_ps(input), _mm256_castsi256_ps(weights), sum));
  }
};

// Eight words of a row, widened to two registers, become sixteen.
inline void StoreInTurns(__m256i first, __m256i second, std::uint32_t* to) {
  const __m256i low = _mm256_unpacklo_epi32(first, second);
  const __m256i high = _mm256_unpackhi_epi32(first, second);
  StoreWords(_mm256_permute2x128_si256(low, high, 0x20), to);
  StoreWords(_mm256_permute2x128_si256(low, high, 0x31), to + 8);
}

// Both halves of a word are widened to float32, the first input is added first.
struct Bfloat16Arithmetic : FloatSums {
  using Wide = Float32Arithmetic;

  static __m256 MultiplyAdd(__m256 sum, __m256i input, __m256i weights) {
    sum = _mm256_fmadd_ps(_mm256_castsi256_ps(First(input)), _mm256_castsi256_ps(First(weights)),
                          sum);
    return _mm256_fmadd_ps(_mm256_castsi256_ps(Second(input)), _mm256_castsi256_ps(Second(weights)),
                           sum);
  }
  static void WidenWeights(const std::uint32_t* words, std::uint32_t* first,
                           std::uint32_t* second) {
    StoreWords(First(LoadWords(words)), first);
    StoreWords(Second(LoadWords(words)), second);
  }
  static void WidenInputs(const std::uint32_t* words, std::uint32_t* wide) {
    StoreInTurns(First(LoadWords(words)), Second(LoadWords(words)), wide);
  }

 private:
  static __m256i First(__m256i word) { return _mm256_slli_epi32(word, 16); }
  static __m256i Second(__m256i word) { return _mm256_and_si256(word, _mm256_set1_epi32(~0xffff)); }
};

// As in avx512_arithmetic.h: values come out 2^8 times too small, and low ones out of a table.
template <typename Bfloat16Arithmetic>
struct Fp8Arithmetic : FloatSums {
  using Bfloat16 = Bfloat16Arithmetic;
  static constexpr int kVectors = 1, kMaxRows = 4, kInputWords = 2;
  static constexpr int kFewRows = 0;
  struct Weights {
    __m256i first, second;
  };
  struct Input {
    __m256i first, second;
  };

  static Weights LoadWeights(const std::uint32_t* words) {
    const __m256i bytes = LoadWords(words);
    return {Decode(_mm256_slli_epi16(bytes, 8)), Decode(bytes)};
  }
  static void Store(__m256i weights, std::uint32_t* words) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), weights);
  }
  static Input LoadInput(const std::uint32_t* words) {
    return {FloatSums::LoadInput(words), FloatSums::LoadInput(words + 1)};
  }
  static __m256 MultiplyAdd(__m256 sum, const Input& input, const Weights& weights) {
    sum = Bfloat16::MultiplyAdd(sum, input.first, weights.first);
    return Bfloat16::MultiplyAdd(sum, input.second, weights.second);
  }
  static void Finish(const PanelJob& job, int, int channel, __m256 sum, float* y) {
    const __m256 scale = _mm256_loadu_ps(job.weight_scale + channel);
    _mm256_storeu_ps(y, _mm256_mul_ps(_mm256_mul_ps(sum, _mm256_set1_ps(256)), scale));
  }

 private:
  static __m256i Decode(__m256i halves) {
    const __m256i magnitude =
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(halves, 4), _mm256_set1_epi16(0x07f0)),
                        _mm256_set1_epi16(0x3800));
    const __m256i small = _mm256_cmpeq_epi16(_mm256_and_si256(halves, _mm256_set1_epi16(0x7800)),
                                             _mm256_setzero_si256());
    // The lower bytes of the eight values, then the upper ones.
    const __m256i table = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 0, -128, -64, 0, 0x20, 0x40, 0x60, 0, 0x37, 0x37, 0x37, 0x38, 0x38, 0x38, 0x38));
    const __m256i low = _mm256_and_si256(_mm256_srli_epi16(halves, 8), _mm256_set1_epi16(7));
    const __m256i index =
        _mm256_or_si256(low, _mm256_or_si256(_mm256_slli_epi16(low, 8), _mm256_set1_epi16(0x0800)));
    const __m256i value = _mm256_blendv_epi8(magnitude, _mm256_shuffle_epi8(table, index), small);
    return _mm256_or_si256(value, _mm256_and_si256(halves, _mm256_set1_epi16(INT16_MIN)));
  }
};

// The parts of an int4 arithmetic (int4_kernel.h) that do not depend on how bytes are multiplied.
struct Int4Sums {
  static constexpr int kWidth = 8, kFewRows = 1, kVectors = 1;
  using Sum = __m256;
  struct Weights {
    __m256i values[2 * kInt4Words];
    __m256 scale;
  };

  static Weights Load(const std::uint32_t* words, int channel) {
    Weights weights;
    const __m256i mask = _mm256_set1_epi8(15);
    PG_UNROLL for (int i = 0; i < kInt4Words; ++i) {
      const __m256i word = LoadWords(words + i * kPanel + channel);
      weights.values[2 * i] = _mm256_and_si256(word, mask);
      weights.values[2 * i + 1] = _mm256_and_si256(_mm256_srli_epi16(word, 4), mask);
    }
    const auto* scales = reinterpret_cast<const std::uint16_t*>(words + kInt4Words * kPanel);
    const __m128i half = _mm_load_si128(reinterpret_cast<const __m128i*>(scales + channel));
    weights.scale = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    return weights;
  }
  static __m256 Zero() { return _mm256_setzero_ps(); }
  static __m256 Resume(const float* partial) { return _mm256_loadu_ps(partial); }
  static void Store(__m256 sum, float* y) { _mm256_storeu_ps(y, sum); }
  static __m256 Scaled(__m256 sum, float row_scale) {
    return _mm256_mul_ps(sum, _mm256_set1_ps(row_scale));
  }
};

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_AVX2_ARITHMETIC_H_
