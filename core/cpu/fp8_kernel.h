// SPDX-License-Identifier: Apache-2.0
// A product with one panel of fp8 weights. Few rows multiply what they decode in registers; for
// more rows a piece of the panel is decoded to bfloat16 once, into the nearest cache, and
// multiplied as bfloat16 weights are: the same values in the same order. Included by the files that
// are compiled for one instruction set, once each.
#ifndef CORE_CPU_FP8_KERNEL_H_
#define CORE_CPU_FP8_KERNEL_H_

#include <cstdint>

#include "core/cpu/kernels.h"
#include "core/cpu/packed_matrix.h"
#include "core/cpu/panel_kernel.h"

namespace paligemma::cpu {
namespace {

// 16 KiB when decoded.
constexpr int kFp8BlockSteps = 32;

// Products with decoded weights.
template <typename Fp8>
struct DecodedArithmetic : Fp8::Bfloat16 {
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
  alignas(64) std::uint32_t decoded[2 * kFp8BlockSteps * kPanel];
  PanelJob wide = job;
  wide.num_steps = 2 * job.num_steps;
  for (int begin = 0; begin < job.num_steps; begin += kFp8BlockSteps) {
    const int end = begin + kFp8BlockSteps < job.num_steps ? begin + kFp8BlockSteps : job.num_steps;
    DecodeSteps<Fp8>(job.weights + begin * kPanel, end - begin, decoded);
    Block block;
    block.words = decoded;
    block.begin = 2 * begin;
    block.end = 2 * end;
    AddBlock<DecodedArithmetic<Fp8>>(wide, block, job.weights + end * kPanel);
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_FP8_KERNEL_H_
