// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/machine_limits.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <vector>

namespace paligemma::bench {
namespace {

constexpr int kSums = 12;  // enough to hide an instruction's latency
constexpr int kRepeats = 400'000;

clockid_t clock_id = CLOCK_MONOTONIC;

__attribute__((target("avx2"))) long ReadAll(const char* data, std::size_t bytes) {
  __m256i sum = _mm256_setzero_si256();
  for (std::size_t i = 0; i + 64 <= bytes; i += 64) {
    _mm_prefetch(data + i + 4096, _MM_HINT_T0);
    const auto* line = reinterpret_cast<const __m256i*>(data + i);
    sum = _mm256_xor_si256(
        sum, _mm256_xor_si256(_mm256_loadu_si256(line), _mm256_loadu_si256(line + 1)));
  }
  return _mm256_extract_epi64(sum, 0) ^ _mm256_extract_epi64(sum, 2);
}

// One statement for each of the sums, kRepeats times; returns something that depends on them all.
// The empty statements make values that the compiler does not know, and sums that it cannot merge.
#define PG_PEAK(name, isa, Type, zero, operation, add, result)                \
  __attribute__((target(isa))) float name() {                                 \
    Type a = zero, b = zero;                                                  \
    asm volatile("" : "+v"(a), "+v"(b));                                      \
    Type sums[kSums];                                                         \
    _Pragma("GCC unroll 16") for (Type & sum : sums) {                        \
      Type own = zero;                                                        \
      asm volatile("" : "+v"(own));                                           \
      sum = own;                                                              \
    }                                                                         \
    for (int i = 0; i < kRepeats; ++i) {                                      \
      _Pragma("GCC unroll 16") for (Type & sum : sums) sum = operation;       \
    }                                                                         \
    Type total = sums[0];                                                     \
    _Pragma("GCC unroll 16") for (Type & sum : sums) total = add(total, sum); \
    return result;                                                            \
  }

PG_PEAK(PeakInt8Avx512, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(),
        _mm512_dpbusd_epi32(sum, a, b), _mm512_xor_si512,
        static_cast<float>(_mm_cvtsi128_si32(_mm512_castsi512_si128(total))))
PG_PEAK(PeakBfloat16Avx512, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(),
        _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b)),
        _mm512_add_ps, _mm512_cvtss_f32(total))
PG_PEAK(PeakFloat32Avx512, "avx512f", __m512, _mm512_setzero_ps(), _mm512_fmadd_ps(a, b, sum),
        _mm512_add_ps, _mm512_cvtss_f32(total))
// Products of constants would leave the loops, so they are written as assembly.
#define PG_AVX2_INLINE __attribute__((target("avx2"), always_inline)) inline

// 16 products of 16 bits: what is best when values were widened before.
PG_AVX2_INLINE __m256i AddWide(__m256i sum, __m256i a, __m256i b) {
  __m256i pairs;
  asm volatile("vpmaddwd %2, %1, %0" : "=x"(pairs) : "x"(a), "x"(b));
  return _mm256_add_epi32(sum, pairs);
}

// 32 products of bytes: what is best when nothing was.
PG_AVX2_INLINE __m256i AddSigned(__m256i sum, __m256i a, __m256i b) {
  __m256i pairs;
  asm volatile("vpsignb %2, %1, %0\n\tvpmaddubsw %0, %2, %0\n\tvpmaddwd %1, %0, %0"
               : "=&x"(pairs)
               : "x"(a), "x"(b));
  return _mm256_add_epi32(sum, pairs);
}

PG_PEAK(PeakWideInt8Avx2, "avx2", __m256i, _mm256_setzero_si256(), AddWide(sum, a, b),
        _mm256_xor_si256, static_cast<float>(_mm_cvtsi128_si32(_mm256_castsi256_si128(total))))
PG_PEAK(PeakSignedInt8Avx2, "avx2", __m256i, _mm256_setzero_si256(), AddSigned(sum, a, b),
        _mm256_xor_si256, static_cast<float>(_mm_cvtsi128_si32(_mm256_castsi256_si128(total))))
PG_PEAK(PeakInt8AvxVnni, "avx2,avxvnni", __m256i, _mm256_setzero_si256(),
        _mm256_dpbusd_avx_epi32(sum, a, b), _mm256_xor_si256,
        static_cast<float>(_mm_cvtsi128_si32(_mm256_castsi256_si128(total))))
PG_PEAK(PeakFloat32Avx2, "avx2,fma", __m256, _mm256_setzero_ps(), _mm256_fmadd_ps(a, b, sum),
        _mm256_add_ps, _mm256_cvtss_f32(total))

struct Peak {
  float (*loop)();
  int operations;  // of one statement
};

// The sequences of which the fastest is the limit.
std::vector<Peak> PeaksOf(cpu::Isa isa, cpu::Encoding encoding) {
  const bool wide = isa >= cpu::Isa::kAvx512;
  if (encoding == cpu::Encoding::kInt8) {
    if (wide) {
      return {{PeakInt8Avx512, 128}};
    }
    if (isa == cpu::Isa::kAvxVnni) {
      return {{PeakInt8AvxVnni, 64}};
    }
    return {{PeakWideInt8Avx2, 32}, {PeakSignedInt8Avx2, 64}};
  }
  if (encoding == cpu::Encoding::kBfloat16 && isa == cpu::Isa::kAvx512Bf16) {
    return {{PeakBfloat16Avx512, 64}};
  }
  return {wide ? Peak{PeakFloat32Avx512, 32} : Peak{PeakFloat32Avx2, 16}};
}

}  // namespace

void UseCpuTime(bool use) { clock_id = use ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC; }

double Now() {
  timespec time{};
  ::clock_gettime(clock_id, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

double SecondsToRead(const cpu::Context& context, const void* data, std::size_t bytes) {
  constexpr std::size_t kTile = 1 << 20;
  std::atomic<long> sink{0};
  const double start = Now();
  context.Run(static_cast<int>((bytes + kTile - 1) / kTile), [&](int tile) {
    const std::size_t first = tile * kTile;
    sink += ReadAll(static_cast<const char*>(data) + first, std::min(kTile, bytes - first));
  });
  return Now() - start;
}

double PeakOperations(const cpu::Context& context, cpu::Encoding encoding) {
  const int tiles = 4 * (context.pool == nullptr ? 1 : context.pool->num_threads());
  double best = 0;
  for (const Peak& peak : PeaksOf(context.isa, encoding)) {
    std::atomic<int> sink{0};
    const double start = Now();
    context.Run(tiles, [&](int) { sink += static_cast<int>(peak.loop()); });
    best = std::max(best, double{kRepeats} * kSums * peak.operations * tiles / (Now() - start));
  }
  return best;
}

}  // namespace paligemma::bench
