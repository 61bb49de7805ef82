// SPDX-License-Identifier: Apache-2.0
// A product with one panel of fp8 weights. Few rows multiply what they decode in registers; for
// more rows a piece of the panel is decoded once, into the nearest cache, and
// multiplied as bfloat16 weights are: the same values in the same order. Included by the files that
// are compiled for one instruction set, once each.
#ifndef CORE_CPU_FP8_KERNEL_H_
#define CORE_CPU_FP8_KERNEL_H_

#include <cstdint>

#include "core/cpu/kernels.h"
#include "core/cpu/packed_matrix.h"
#include "core/cpu/panel_kernel.h"
#include "core/cpu/wide_kernel.h"

namespace paligemma::cpu {
namespace {

template <typename Bfloat16>
struct Decoded {
  using Arithmetic = Bfloat16;
  static constexpr int kWords = 2;  // of weights and of inputs for each word of fp8
};
template <Widens Bfloat16>
struct Decoded<Bfloat16> {
  using Arithmetic = typename Bfloat16::Wide;
  static constexpr int kWords = 4;
};

// Products with decoded weights.
template <typename Fp8>
struct DecodedArithmetic : Decoded<typename Fp8::Bfloat16>::Arithmetic {
  static void Finish(const PanelJob& job, int row, int channel, typename Fp8::Sum sum, float* y) {
    Fp8::Finish(job, row, channel, sum, y);
  }
};

template <typename Fp8>
inline void DecodeSteps(const std::uint32_t* words, int steps, std::uint32_t* decoded) {
  for (int step = 0; step < steps; ++step) {
    for (int channel = 0; channel < kPanel; channel += Fp8::kWidth) {
      const typename Fp8::Weights weights = Fp8::LoadWeights(words + step * kPanel + channel);
      Fp8::Store(weights.first, decoded + 2 * step * kPanel + channel);
      Fp8::Store(weights.second, decoded + (2 * step + 1) * kPanel + channel);
    }
  }
}

template <typename Fp8>
void MultiplyFp8Panel(const PanelJob& job) {
  if (job.num_rows <= Fp8::kMaxRows) {
    MultiplyPanel<Fp8>(job);
    return;
  }
  using Bfloat16 = typename Fp8::Bfloat16;
  constexpr int kWords = Decoded<Bfloat16>::kWords, kSteps = 64 / kWords;  // 16 KiB when decoded
  alignas(64) std::uint32_t decoded[kWords * kSteps * kPanel];
  alignas(64) std::uint32_t narrow[Widens<Bfloat16> ? 2 * kSteps * kPanel : 1];
  PanelJob wide = job;
  wide.num_steps = kWords * job.num_steps;
  wide.rows = job.rows + (Widens<Bfloat16> ? 2 * job.num_steps : 0);
  for (int begin = 0; begin < job.num_steps; begin += kSteps) {
    const int end = begin + kSteps < job.num_steps ? begin + kSteps : job.num_steps;
    if constexpr (Widens<Bfloat16>) {
      DecodeSteps<Fp8>(job.weights + begin * kPanel, end - begin, narrow);
      WidenSteps<Bfloat16>(narrow, 2 * (end - begin), decoded);
    } else {
      DecodeSteps<Fp8>(job.weights + begin * kPanel, end - begin, decoded);
    }
    Block block;
    block.words = decoded;
    block.begin = kWords * begin;
    block.end = kWords * end;
    AddBlock<DecodedArithmetic<Fp8>>(wide, block, job.weights + end * kPanel);
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_FP8_KERNEL_H_
