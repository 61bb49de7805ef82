// SPDX-License-Identifier: Apache-2.0
// A product with one panel of int4 weights: exact integers within a group of inputs, whose sum
// times the group's scale is added in float32, group after group. Included by the files that are
// compiled for one instruction set, once each.
//
// An Int4 arithmetic takes kWidth outputs at a time:
//   Weights, Sum                          a group's values + 8 and scales, float32 sums
//   Load(words, channel)                  of the group that begins at `words`
//   Begin(), Resume(partial), Store(sum, y)
//   MultiplyAdd(sum, x, correction, weights)   x: 8 words of bytes; correction: -8 times their sum
//   Scaled(sum, row_scale)                the result
#ifndef CORE_CPU_INT4_KERNEL_H_
#define CORE_CPU_INT4_KERNEL_H_

#include <cstdint>

#include "core/cpu/kernels.h"
#include "core/cpu/packed_matrix.h"
#include "core/cpu/panel_kernel.h"

namespace paligemma::cpu {
namespace {

constexpr int kInt4StepWords = static_cast<int>(WordsPerStep(Encoding::kInt4));
constexpr int kInt4InputWords = static_cast<int>(kInt4Group / 4);  // of activations
// 36 KiB of weights, and 1 KiB of each row: both stay in the nearest caches.
constexpr int kInt4BlockSteps = 32;

// Adds groups [begin, end) of kRows rows to the sums of kVectors x kWidth outputs.
template <typename Int4, int kVectors, int kRows>
inline void AddGroups(const PanelJob& job, int row, int channel, int begin, int end) {
  typename Int4::Sum sums[kRows][kVectors];
  float* y = job.y + row * job.y_stride + channel;
  PG_UNROLL for (int r = 0; r < kRows; ++r) {
    PG_UNROLL for (int v = 0; v < kVectors; ++v) {
      sums[r][v] =
          begin == 0 ? Int4::Begin() : Int4::Resume(y + r * job.y_stride + v * Int4::kWidth);
    }
  }
  const std::uint32_t* rows = job.rows + row * job.row_stride;
  for (int step = begin; step < end; ++step) {
    const std::uint32_t* words = job.weights + step * kInt4StepWords;
    if (channel == 0) {
      PG_UNROLL for (int line = 0; line < kInt4StepWords; line += 16) {
        __builtin_prefetch(words + line + kPrefetchWords);
      }
    }
    PG_UNROLL for (int v = 0; v < kVectors; ++v) {
      const typename Int4::Weights weights = Int4::Load(words, channel + v * Int4::kWidth);
      PG_UNROLL for (int r = 0; r < kRows; ++r) {
        const std::uint32_t* x = rows + r * job.row_stride;
        sums[r][v] = Int4::MultiplyAdd(sums[r][v], x + step * kInt4InputWords,
                                       x + job.num_steps * kInt4InputWords + step, weights);
      }
    }
  }
  PG_UNROLL for (int r = 0; r < kRows; ++r) {
    PG_UNROLL for (int v = 0; v < kVectors; ++v) {
      float* to = y + r * job.y_stride + v * Int4::kWidth;
      Int4::Store(
          end == job.num_steps ? Int4::Scaled(sums[r][v], job.row_scale[row + r]) : sums[r][v], to);
    }
  }
}

template <typename Int4, int kVectors, int kRows>
inline void AddRowsOfGroups(const PanelJob& job, int row, int begin, int end) {
  for (int channel = 0; channel < kPanel; channel += kVectors * Int4::kWidth) {
    AddGroups<Int4, kVectors, kRows>(job, row, channel, begin, end);
  }
}

// `count` rows, at most kRows. Few rows take a whole panel at once, so that its words are read in
// their order; more take fewer outputs, so that their sums fit the registers.
template <typename Int4, int kRows>
inline void AddSomeRows(const PanelJob& job, int row, int count, int begin, int end) {
  if constexpr (kRows > 0) {
    if (count == kRows) {
      constexpr int kVectors = kRows <= Int4::kFewRows ? Int4::kVectorsOfFew : 1;
      AddRowsOfGroups<Int4, kVectors, kRows>(job, row, begin, end);
    } else {
      AddSomeRows<Int4, kRows - 1>(job, row, count, begin, end);
    }
  }
}

template <typename Int4>
void MultiplyInt4Panel(const PanelJob& job) {
  for (int begin = 0; begin < job.num_steps; begin += kInt4BlockSteps) {
    const int end =
        begin + kInt4BlockSteps < job.num_steps ? begin + kInt4BlockSteps : job.num_steps;
    for (int row = 0; row < job.num_rows; row += Int4::kMaxRows) {
      const int rest = job.num_rows - row;
      AddSomeRows<Int4, Int4::kMaxRows>(job, row, rest < Int4::kMaxRows ? rest : Int4::kMaxRows,
                                        begin, end);
    }
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_INT4_KERNEL_H_
