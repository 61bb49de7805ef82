// SPDX-License-Identifier: Apache-2.0
// How AVX-512 multiplies (panel_kernel.h): the 64 outputs of a panel in four registers. Included by
// the files that are compiled for it.
#ifndef CORE_CPU_AVX512_ARITHMETIC_H_
#define CORE_CPU_AVX512_ARITHMETIC_H_

#include <immintrin.h>

#include "core/cpu/kernels.h"
#include "core/cpu/panel_kernel.h"

namespace paligemma::cpu {
namespace {

struct Avx512Arithmetic {
  // 24 sums, four registers of weights, one or two of inputs.
  static constexpr int kWidth = 16, kVectors = 4, kMaxRows = 6, kInputWords = 1, kFewRows = 0;
  using Weights = __m512i;

  static __m512i LoadWeights(const std::uint32_t* words) { return _mm512_load_si512(words); }
  static __m512i LoadInput(const std::uint32_t* word) {
    return _mm512_set1_epi32(static_cast<int>(*word));
  }
};

struct FloatSums : Avx512Arithmetic {
  using Sum = __m512;

  static __m512 Begin(const PanelJob&, int) { return _mm512_setzero_ps(); }
  static __m512 Resume(const float* partial) { return _mm512_loadu_ps(partial); }
  static void Pause(__m512 sum, float* partial) { _mm512_storeu_ps(partial, sum); }
  static void Finish(const PanelJob&, int, int, __m512 sum, float* y) { Pause(sum, y); }
};

struct Float32Arithmetic : FloatSums {
  static __m512 MultiplyAdd(__m512 sum, __m512i input, __m512i weights) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(input), _mm512_castsi512_ps(weights), sum);
  }
};

// Eight bits to two words of bfloat16 pairs, 2^8 times too small, so that an exponent takes one
// `or`. Its lower values, which have no leading one, come out of a table.
struct Fp8Decoder {
  // Halves of words with a value in their upper bytes; the lower ones do not matter.
  static __m512i Decode(__m512i halves) {
    const __m512i magnitude = _mm512_ternarylogic_epi32(
        _mm512_srli_epi16(halves, 4), _mm512_set1_epi16(0x07f0), _mm512_set1_epi16(0x3800), 0xea);
    const __mmask32 small = _mm512_testn_epi16_mask(halves, _mm512_set1_epi16(0x7800));
    const __m512i table = _mm512_broadcast_i32x4(
        _mm_setr_epi16(0, 0x3700, 0x3780, 0x37c0, 0x3800, 0x3820, 0x3840, 0x3860));
    const __m512i value =
        _mm512_mask_permutexvar_epi16(magnitude, small, _mm512_srli_epi16(halves, 8), table);
    return _mm512_ternarylogic_epi32(value, halves, _mm512_set1_epi16(INT16_MIN), 0xf8);
  }
};

// Products with decoded weights, by an arithmetic for bfloat16.
template <typename Bfloat16Arithmetic>
struct Fp8Arithmetic : FloatSums {
  using Bfloat16 = Bfloat16Arithmetic;
  // 16 sums, eight registers of weights, two of inputs, the decoder's constants.
  static constexpr int kMaxRows = 4, kInputWords = 2;
  struct Weights {
    __m512i first, second;
  };
  struct Input {
    __m512i first, second;
  };

  static Weights LoadWeights(const std::uint32_t* words) {
    const __m512i bytes = _mm512_load_si512(words);
    return {Fp8Decoder::Decode(_mm512_slli_epi16(bytes, 8)), Fp8Decoder::Decode(bytes)};
  }
  static void Store(__m512i weights, std::uint32_t* words) { _mm512_store_si512(words, weights); }
  static Input LoadInput(const std::uint32_t* words) {
    return {FloatSums::LoadInput(words), FloatSums::LoadInput(words + 1)};
  }
  static __m512 MultiplyAdd(__m512 sum, const Input& input, const Weights& weights) {
    sum = Bfloat16::MultiplyAdd(sum, input.first, weights.first);
    return Bfloat16::MultiplyAdd(sum, input.second, weights.second);
  }
  static void Finish(const PanelJob& job, int, int channel, __m512 sum, float* y) {
    const __m512 scale = _mm512_loadu_ps(job.weight_scale + channel);
    _mm512_storeu_ps(y, _mm512_mul_ps(_mm512_mul_ps(sum, _mm512_set1_ps(256)), scale));
  }
};

// int4_kernel.h; weights are the unsigned operand.
struct Int4Arithmetic {
  static constexpr int kWidth = 16, kFewRows = 4, kVectors = 2;
  using Sum = __m512;
  struct Weights {
    __m512i values[2 * kInt4Words];
    __m512 scale;
  };

  static Weights Load(const std::uint32_t* words, int channel) {
    Weights weights;
    const __m512i mask = _mm512_set1_epi8(15);
    PG_UNROLL for (int i = 0; i < kInt4Words; ++i) {
      const __m512i word = _mm512_load_si512(words + i * kPanel + channel);
      weights.values[2 * i] = _mm512_and_si512(word, mask);
      weights.values[2 * i + 1] = _mm512_and_si512(_mm512_srli_epi16(word, 4), mask);
    }
    const auto* scales = reinterpret_cast<const std::uint16_t*>(words + kInt4Words * kPanel);
    const __m256i half = _mm256_load_si256(reinterpret_cast<const __m256i*>(scales + channel));
    weights.scale = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    return weights;
  }
  static __m512 Zero() { return _mm512_setzero_ps(); }
  static __m512 Resume(const float* partial) { return _mm512_loadu_ps(partial); }
  static void Store(__m512 sum, float* y) { _mm512_storeu_ps(y, sum); }
  static __m512 MultiplyAdd(__m512 sum, const std::uint32_t* x, const std::uint32_t* correction,
                            const Weights& weights) {
    __m512i exact = _mm512_set1_epi32(static_cast<int>(*correction));
    PG_UNROLL for (int i = 0; i < 2 * kInt4Words; ++i) {
      exact =
          _mm512_dpbusd_epi32(exact, weights.values[i], _mm512_set1_epi32(static_cast<int>(x[i])));
    }
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), weights.scale, sum);
  }
  static __m512 Scaled(__m512 sum, float row_scale) {
    return _mm512_mul_ps(sum, _mm512_set1_ps(row_scale));
  }
};

struct Int8Arithmetic : Avx512Arithmetic {
  using Sum = __m512i;

  static __m512i Begin(const PanelJob& job, int channel) {
    const __m512i sums = _mm512_loadu_si512(job.weight_sums + channel);
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sums, 7));
  }
  static __m512i Resume(const float* partial) { return _mm512_loadu_si512(partial); }
  static void Pause(__m512i sum, float* partial) { _mm512_storeu_si512(partial, sum); }
  static __m512i MultiplyAdd(__m512i sum, __m512i input, __m512i weights) {
    return _mm512_dpbusd_epi32(sum, input, weights);
  }
  static void Finish(const PanelJob& job, int row, int channel, __m512i sum, float* y) {
    const __m512 scaled =
        _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(job.row_scale[row]));
    _mm512_storeu_ps(y, _mm512_mul_ps(scaled, _mm512_loadu_ps(job.weight_scale + channel)));
  }
};

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_AVX512_ARITHMETIC_H_
