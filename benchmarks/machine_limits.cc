// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/machine_limits.h"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <ctime>

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
PG_PEAK(PeakInt8Avx2, "avx2", __m256i, _mm256_setzero_si256(),
        _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_xor_si256(a, sum), b)), _mm256_xor_si256,
        static_cast<float>(_mm_cvtsi128_si32(_mm256_castsi256_si128(total))))
PG_PEAK(PeakFloat32Avx2, "avx2,fma", __m256, _mm256_setzero_ps(), _mm256_fmadd_ps(a, b, sum),
        _mm256_add_ps, _mm256_cvtss_f32(total))

struct Peak {
  float (*loop)();
  int operations;  // of one statement
};

Peak PeakOf(cpu::Isa isa, cpu::Encoding encoding) {
  const bool wide = isa >= cpu::Isa::kAvx512;
  if (encoding == cpu::Encoding::kInt8) {
    return wide ? Peak{PeakInt8Avx512, 128} : Peak{PeakInt8Avx2, 32};
  }
  if (encoding == cpu::Encoding::kBfloat16 && isa == cpu::Isa::kAvx512Bf16) {
    return {PeakBfloat16Avx512, 64};
  }
  return wide ? Peak{PeakFloat32Avx512, 32} : Peak{PeakFloat32Avx2, 16};
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
  const Peak peak = PeakOf(context.isa, encoding);
  const int tiles = 4 * (context.pool == nullptr ? 1 : context.pool->num_threads());
  std::atomic<int> sink{0};
  const double start = Now();
  context.Run(tiles, [&](int) { sink += static_cast<int>(peak.loop()); });
  return double{kRepeats} * kSums * peak.operations * tiles / (Now() - start);
}

}  // namespace paligemma::bench
