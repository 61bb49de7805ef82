// SPDX-License-Identifier: Apache-2.0
// The loops of a product with one panel, the same for every arithmetic and instruction set.
// Included by the files that are compiled for one instruction set, once each.
//
// An Arithmetic says how the words of one step are multiplied, for kWidth outputs at a time:
//   kVectors x kWidth outputs and kMaxRows rows are taken at once, as many as the registers hold
//   Weights, Input, Sum          what weights, one row's words of a step and a sum are held in
//   kInputWords                  of a row in a step
//   LoadWeights(words), LoadInput(words)
//   MultiplyAdd(sum, input, weights) -> Sum
//   Begin(job, channel), Resume(partial), Pause(sum, partial)   sums before, between, after blocks
//   Finish(job, row, channel, sum, y)
#ifndef CORE_CPU_PANEL_KERNEL_H_
#define CORE_CPU_PANEL_KERNEL_H_

#include <cstdint>

#include "core/cpu/kernels.h"
#include "core/cpu/packed_matrix.h"

// Loops over registers must be gone before the compiler decides what lives in registers.
#if defined(__clang__)
#define PG_UNROLL _Pragma("unroll")
#else
#define PG_UNROLL _Pragma("GCC unroll 16")
#endif

namespace paligemma::cpu {
namespace {

// 128 KiB of weights: they stay in the second-level cache while all rows pass over them.
constexpr int kBlockSteps = 512;
// Of weights, in words: about what arrives while the loop works on what lies before it.
constexpr int kPrefetchWords = 1024;

// Adds steps [begin, end) of kRows rows from `row` on to the sums of the outputs from `channel` on.
template <typename Arithmetic, int kRows>
inline void AddSteps(const PanelJob& job, int row, int channel, int begin, int end) {
  constexpr int kVectors = Arithmetic::kVectors, kWidth = Arithmetic::kWidth;
  typename Arithmetic::Sum sums[kRows][kVectors];
  float* y = job.y + row * job.y_stride + channel;
  PG_UNROLL for (int r = 0; r < kRows; ++r) {
    PG_UNROLL for (int i = 0; i < kVectors; ++i) {
      sums[r][i] = begin == 0 ? Arithmetic::Begin(job, channel + i * kWidth)
                              : Arithmetic::Resume(y + r * job.y_stride + i * kWidth);
    }
  }
  const std::uint32_t* words = job.weights + channel;
  const std::uint32_t* inputs = job.rows + row * job.row_stride;
  for (int step = begin; step < end; ++step) {
    const std::uint32_t* own = words + step * kPanel;
    typename Arithmetic::Weights weights[kVectors];
    PG_UNROLL for (int i = 0; i < kVectors; ++i) {
      if (i * kWidth % 16 == 0) {
        __builtin_prefetch(own + i * kWidth + kPrefetchWords);
      }
      weights[i] = Arithmetic::LoadWeights(own + i * kWidth);
    }
    PG_UNROLL for (int r = 0; r < kRows; ++r) {
      const auto input =
          Arithmetic::LoadInput(inputs + r * job.row_stride + step * Arithmetic::kInputWords);
      PG_UNROLL for (int i = 0; i < kVectors; ++i) {
        sums[r][i] = Arithmetic::MultiplyAdd(sums[r][i], input, weights[i]);
      }
    }
  }
  const bool last = end == job.num_steps;
  PG_UNROLL for (int r = 0; r < kRows; ++r) {
    PG_UNROLL for (int i = 0; i < kVectors; ++i) {
      float* to = y + r * job.y_stride + i * kWidth;
      if (last) {
        Arithmetic::Finish(job, row + r, channel + i * kWidth, sums[r][i], to);
      } else {
        Arithmetic::Pause(sums[r][i], to);
      }
    }
  }
}

// The last rows, fewer than kMaxRows.
template <typename Arithmetic, int kRows>
inline void AddRest(const PanelJob& job, int row, int channel, int begin, int end) {
  if constexpr (kRows > 0) {
    if (job.num_rows - row == kRows) {
      AddSteps<Arithmetic, kRows>(job, row, channel, begin, end);
    } else {
      AddRest<Arithmetic, kRows - 1>(job, row, channel, begin, end);
    }
  }
}

template <typename Arithmetic>
void MultiplyPanel(const PanelJob& job) {
  constexpr int kRows = Arithmetic::kMaxRows;
  constexpr int kChannels = Arithmetic::kVectors * Arithmetic::kWidth;
  for (int begin = 0; begin < job.num_steps; begin += kBlockSteps) {
    const int end = begin + kBlockSteps < job.num_steps ? begin + kBlockSteps : job.num_steps;
    for (int channel = 0; channel < kPanel; channel += kChannels) {
      int row = 0;
      for (; row + kRows <= job.num_rows; row += kRows) {
        AddSteps<Arithmetic, kRows>(job, row, channel, begin, end);
      }
      AddRest<Arithmetic, kRows - 1>(job, row, channel, begin, end);
    }
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_PANEL_KERNEL_H_
