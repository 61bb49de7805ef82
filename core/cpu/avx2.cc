// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/avx2_vector.h"
#include "core/cpu/kernel_table.h"

namespace paligemma::cpu {
namespace {

__m256i LoadWords(const void* words) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(words));
}

// 16 outputs in two registers; twelve sums leave room for the operands.
struct FloatSums {
  static constexpr int kWidth = 8, kVectors = 2, kMaxRows = 6, kInputWords = 1;
  using Weights = __m256i;
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
    return _mm256_fmadd_ps(_mm256_castsi256_ps(input), _mm256_castsi256_ps(weights), sum);
  }
};

// Both halves of a word are widened to float32, the first input is added first.
struct Bfloat16Arithmetic : FloatSums {
  static __m256 MultiplyAdd(__m256 sum, __m256i input, __m256i weights) {
    sum = _mm256_fmadd_ps(First(input), First(weights), sum);
    return _mm256_fmadd_ps(Second(input), Second(weights), sum);
  }
  static __m256 First(__m256i word) { return _mm256_castsi256_ps(_mm256_slli_epi32(word, 16)); }
  static __m256 Second(__m256i word) {
    return _mm256_castsi256_ps(_mm256_and_si256(word, _mm256_set1_epi32(~0xffff)));
  }
};

// As in avx512_arithmetic.h: values come out 2^8 times too small, and low ones out of a table.
template <typename Bfloat16Arithmetic>
struct Fp8Arithmetic : FloatSums {
  using Bfloat16 = Bfloat16Arithmetic;
  static constexpr int kVectors = 1, kMaxRows = 4, kInputWords = 2;
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

// int4_kernel.h. Here vpmaddubsw cannot saturate: values of at most 15 times bytes of at most 127
// make sums of 16 products that are below 2^15.
struct Int4Arithmetic {
  static constexpr int kWidth = 8, kFewRows = 0, kVectors = 1;
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
  static __m256 Scaled(__m256 sum, float row_scale) {
    return _mm256_mul_ps(sum, _mm256_set1_ps(row_scale));
  }
};

// vpmaddubsw would saturate, so bytes are widened to 16 bits and multiplied with vpmaddwd, which
// adds pairs: two registers hold two halves each of the sums of four outputs, added at the end.
struct Int8Arithmetic {
  static constexpr int kWidth = 8, kVectors = 2, kMaxRows = 2, kInputWords = 1;
  struct Weights {
    __m256i low, high;  // of outputs 0-3 and 4-7
  };
  struct Sum {
    __m256i low, high;
    __m256i before;  // what earlier blocks of steps gave
  };

  static Weights LoadWeights(const std::uint32_t* words) {
    const __m256i bytes = LoadWords(words);
    return {_mm256_cvtepi8_epi16(_mm256_castsi256_si128(bytes)),
            _mm256_cvtepi8_epi16(_mm256_extracti128_si256(bytes, 1))};
  }
  static __m256i LoadInput(const std::uint32_t* word) {
    return _mm256_cvtepu8_epi16(_mm_set1_epi32(static_cast<int>(*word)));
  }
  static Sum Begin(const PanelJob& job, int channel) {
    const __m256i sums = LoadWords(job.weight_sums + channel);
    return After(_mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(sums, 7)));
  }
  static Sum Resume(const float* partial) { return After(LoadWords(partial)); }
  static Sum MultiplyAdd(Sum sum, __m256i input, Weights weights) {
    return {_mm256_add_epi32(sum.low, _mm256_madd_epi16(input, weights.low)),
            _mm256_add_epi32(sum.high, _mm256_madd_epi16(input, weights.high)), sum.before};
  }
  static void Pause(const Sum& sum, float* partial) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(partial), Total(sum));
  }
  static void Finish(const PanelJob& job, int row, int channel, const Sum& sum, float* y) {
    const __m256 scaled =
        _mm256_mul_ps(_mm256_cvtepi32_ps(Total(sum)), _mm256_set1_ps(job.row_scale[row]));
    _mm256_storeu_ps(y, _mm256_mul_ps(scaled, _mm256_loadu_ps(job.weight_scale + channel)));
  }

 private:
  static Sum After(__m256i before) {
    return {_mm256_setzero_si256(), _mm256_setzero_si256(), before};
  }
  static __m256i Total(const Sum& sum) {
    // vphaddd works within 128-bit halves: outputs 0 1 4 5 2 3 6 7.
    const __m256i pairs = _mm256_hadd_epi32(sum.low, sum.high);
    return _mm256_add_epi32(sum.before, _mm256_permute4x64_epi64(pairs, 0xd8));
  }
};

}  // namespace

constinit const Kernels kAvx2Kernels =
    MakeKernels<Float32Arithmetic, Bfloat16Arithmetic, Int8Arithmetic, Int4Arithmetic,
                Fp8Arithmetic<Bfloat16Arithmetic>>();

}  // namespace paligemma::cpu
