// SPDX-License-Identifier: Apache-2.0
// AVX2 with the dot products of bytes that AVX-512 VNNI has, in 256 bits: desktop CPUs and small
// servers without AVX-512.
#include "core/cpu/avx2_arithmetic.h"
#include "core/cpu/avx2_vector.h"
#include "core/cpu/kernel_table.h"

namespace paligemma::cpu {
namespace {

struct Int4Arithmetic : Int4Sums {
  static __m256 MultiplyAdd(__m256 sum, const std::uint32_t* x, const std::uint32_t* correction,
                            const Weights& weights) {
    __m256i exact = _mm256_set1_epi32(static_cast<int>(*correction));
    PG_UNROLL for (int i = 0; i < 2 * kInt4Words; ++i) {
      exact = _mm256_dpbusd_avx_epi32(exact, weights.values[i],
                                      _mm256_set1_epi32(static_cast<int>(x[i])));
    }
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(exact), weights.scale, sum);
  }
};

struct Int8Arithmetic {
  static constexpr int kWidth = 8, kVectors = 2, kMaxRows = 6, kInputWords = 1;
  static constexpr int kFewRows = 4, kFewSums = 8;
  using Weights = __m256i;
  using Input = __m256i;
  using Sum = __m256i;

  static __m256i LoadWeights(const std::uint32_t* words) { return LoadWords(words); }
  static __m256i LoadInput(const std::uint32_t* word) {
    return _mm256_set1_epi32(static_cast<int>(*word));
  }
  static __m256i Begin(const PanelJob& job, int channel) {
    const __m256i sums = LoadWords(job.weight_sums + channel);
    return _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(sums, 7));
  }
  static __m256i Resume(const float* partial) { return LoadWords(partial); }
  static void Pause(__m256i sum, float* partial) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(partial), sum);
  }
  static __m256i MultiplyAdd(__m256i sum, __m256i input, __m256i weights) {
    return _mm256_dpbusd_avx_epi32(sum, input, weights);
  }
  static void Finish(const PanelJob& job, int row, int channel, __m256i sum, float* y) {
    const __m256 scaled =
        _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(job.row_scale[row]));
    _mm256_storeu_ps(y, _mm256_mul_ps(scaled, _mm256_loadu_ps(job.weight_scale + channel)));
  }
};

}  // namespace

constinit const Kernels kAvxVnniKernels =
    MakeKernels<Float32Arithmetic, Bfloat16Arithmetic, Int8Arithmetic, Int4Arithmetic,
                Fp8Arithmetic<Bfloat16Arithmetic>>();

}  // namespace paligemma::cpu
