// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/avx2_arithmetic.h"
#include "core/cpu/avx2_vector.h"
#include "core/cpu/kernel_table.h"

namespace paligemma::cpu {
namespace {

// Here vpmaddubsw cannot saturate: values of at most 15 times bytes of at most 127 make sums of 16
// products that are below 2^15.
struct Int4Arithmetic : Int4Sums {
  static __m256 MultiplyAdd(__m256 sum, const std::uint32_t* x, const std::uint32_t* correction,
                            const Weights& weights) {
    __m256i pairs = _mm256_setzero_si256();
    PG_UNROLL for (int i = 0; i < 2 * kInt4Words; ++i) {
      const __m256i bytes = _mm256_set1_epi32(static_cast<int>(x[i]));
      pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(weights.values[i], bytes));
    }
    const __m256i exact = _mm256_add_epi32(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)),
                                           _mm256_set1_epi32(static_cast<int>(*correction)));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(exact), weights.scale, sum);
  }
};

// What int8 sums have in common.
struct Int8Sums {
  static constexpr int kWidth = 8, kInputWords = 1;
  using Sum = __m256i;
  using Input = __m256i;

  static __m256i Begin(const PanelJob&, int) { return _mm256_setzero_si256(); }
  static __m256i Resume(const float* partial) { return LoadWords(partial); }
  static void Pause(__m256i sum, float* partial) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(partial), sum);
  }
  static void Finish(const PanelJob& job, int row, int channel, __m256i sum, float* y) {
    const __m256 scaled =
        _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(job.row_scale[row]));
    _mm256_storeu_ps(y, _mm256_mul_ps(scaled, _mm256_loadu_ps(job.weight_scale + channel)));
  }
};

// The byte of a row that is not finite may be -128, which has no positive counterpart.
inline __m256i SignedBytes(__m256i bytes) {
  const __m256i values = _mm256_xor_si256(bytes, _mm256_set1_epi8(INT8_MIN));
  return _mm256_max_epi8(values, _mm256_set1_epi8(-INT8_MAX));
}

// Many rows multiply what was widened to 16 bits once, two inputs of an output in a word. A word of
// four bytes becomes two words, the first with inputs 0 and 2, the second with 1 and 3.
struct WideInt8Arithmetic : Int8Sums {
  static constexpr int kVectors = 2, kMaxRows = 6;
  using Weights = __m256i;

  static __m256i First(__m256i bytes) { return _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8); }
  static __m256i Second(__m256i bytes) { return _mm256_srai_epi16(bytes, 8); }
  static __m256i LoadWeights(const std::uint32_t* words) { return LoadWords(words); }
  static __m256i LoadInput(const std::uint32_t* word) {
    return _mm256_set1_epi32(static_cast<int>(*word));
  }
  static __m256i MultiplyAdd(__m256i sum, __m256i input, __m256i weights) {
    return Hold(_mm256_add_epi32(sum, _mm256_madd_epi16(input, weights)));
  }
};

// Few rows multiply bytes. vpmaddubsw takes unsigned times signed ones: |w| times the input with
// w's sign is exact, since 2 * 128 * 127 < 2^15.
struct Int8Arithmetic : Int8Sums {
  static constexpr int kFewRows = 4, kFewSums = 8;
  using Wide = WideInt8Arithmetic;
  struct Weights {
    __m256i values, sizes;
  };

  static Weights LoadWeights(const std::uint32_t* words) {
    const __m256i values = LoadWords(words);
    return {values, _mm256_abs_epi8(values)};
  }
  static __m256i LoadInput(const std::uint32_t* word) {
    return SignedBytes(_mm256_set1_epi32(static_cast<int>(*word)));
  }
  static __m256i MultiplyAdd(__m256i sum, __m256i input, const Weights& weights) {
    const __m256i pairs =
        _mm256_maddubs_epi16(weights.sizes, _mm256_sign_epi8(input, weights.values));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }

  static void WidenWeights(const std::uint32_t* words, std::uint32_t* first,
                           std::uint32_t* second) {
    StoreWords(Wide::First(LoadWords(words)), first);
    StoreWords(Wide::Second(LoadWords(words)), second);
  }
  static void WidenInputs(const std::uint32_t* words, std::uint32_t* wide) {
    const __m256i bytes = SignedBytes(LoadWords(words));
    StoreInTurns(Wide::First(bytes), Wide::Second(bytes), wide);
  }
};

}  // namespace

constinit const Kernels kAvx2Kernels =
    MakeKernels<Float32Arithmetic, Bfloat16Arithmetic, Int8Arithmetic, Int4Arithmetic,
                Fp8Arithmetic<Bfloat16Arithmetic>>();

}  // namespace paligemma::cpu
