// SPDX-License-Identifier: Apache-2.0
// How AVX-512 multiplies (panel_kernel.h): the 64 outputs of a panel in four registers. Included by
// the files that are compiled for it.
#ifndef CORE_CPU_AVX512_ARITHMETIC_H_
#define CORE_CPU_AVX512_ARITHMETIC_H_

#include <immintrin.h>

#include "core/cpu/kernels.h"

namespace paligemma::cpu {
namespace {

struct Avx512Arithmetic {
  // 24 sums, four registers of weights, one or two of inputs.
  static constexpr int kWidth = 16, kVectors = 4, kMaxRows = 6;
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
