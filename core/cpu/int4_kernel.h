// SPDX-License-Identifier: Apache-2.0
// A product with one panel of int4 weights: exact integers within a group of inputs, whose sum
// times the group's scale is added in float32, group after group. Included by the files that are
// compiled for one instruction set, once each.
//
// An Int4 arithmetic takes kWidth outputs at a time:
//   Weights, Sum                          a group's values + 8 and scales, float32 sums
//   Load(words, channel)                  of the group that begins at `words`
//   Zero(), Resume(sums), Store(sum, sums)
//   MultiplyAdd(sum, x, correction, weights)   x: 8 words of bytes; correction: -8 times their sum
//   Scaled(sum, row_scale)                the result
//   kFewRows                              whose sums of a whole panel fit the registers
//   kVectors                              x kWidth outputs are taken at once with more rows
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
// Rows whose sums lie in the nearest cache while all groups pass over them.
constexpr int kInt4Rows = 64;
// Words of weights, further ahead than other encodings' since a group passes faster.
constexpr int kInt4PrefetchWords = 2 * kPrefetchWords;

// Fetches what corresponds to kWidth outputs of a group, so that fetches are spread over the work:
// a core can wait for a dozen lines at a time.
template <int kWidth>
inline void PrefetchPart(const std::uint32_t* words, int channel) {
  constexpr int kWords = kInt4StepWords * kWidth / static_cast<int>(kPanel);
  const std::uint32_t* ahead = words + kInt4PrefetchWords + channel / kWidth * kWords;
  PG_UNROLL for (int line = 0; line < kWords; line += kLineWords) {
    __builtin_prefetch(ahead + line, /*for writing:*/ 0, /*locality:*/ 2);
  }
}

// kRows rows times a whole panel, whose words are read in their order.
template <typename Int4, int kRows>
inline void MultiplyFewInt4Rows(const PanelJob& job, int row) {
  constexpr int kVectors = static_cast<int>(kPanel) / Int4::kWidth;
  typename Int4::Sum sums[kRows][kVectors];
  PG_UNROLL for (int r = 0; r < kRows; ++r) {
    PG_UNROLL for (int v = 0; v < kVectors; ++v) { sums[r][v] = Int4::Zero(); }
  }
  const std::uint32_t* rows = job.rows + row * job.row_stride;
  const std::uint32_t* corrections = rows + job.num_steps * kInt4InputWords;
  for (int step = 0; step < job.num_steps; ++step) {
    const std::uint32_t* words = job.weights + step * kInt4StepWords;
    PG_UNROLL for (int v = 0; v < kVectors; ++v) {
      PrefetchPart<Int4::kWidth>(words, v * Int4::kWidth);
      const typename Int4::Weights weights = Int4::Load(words, v * Int4::kWidth);
      PG_UNROLL for (int r = 0; r < kRows; ++r) {
        const std::int64_t offset = r * job.row_stride;
        sums[r][v] = Int4::MultiplyAdd(sums[r][v], rows + offset + step * kInt4InputWords,
                                       corrections + offset + step, weights);
      }
    }
  }
  PG_UNROLL for (int r = 0; r < kRows; ++r) {
    PG_UNROLL for (int v = 0; v < kVectors; ++v) {
      Int4::Store(Int4::Scaled(sums[r][v], job.row_scale[row + r]),
                  job.y + (row + r) * job.y_stride + v * Int4::kWidth);
    }
  }
}

// At most kInt4Rows rows: a group's weights are read in their order and unpacked once for all.
template <typename Int4>
void MultiplyManyInt4Rows(const PanelJob& job, int row, int count) {
  constexpr int kVectors = Int4::kVectors, kChannels = kVectors * Int4::kWidth;
  alignas(64) float sums[kInt4Rows][kPanel];
  for (int r = 0; r < count; ++r) {
    for (int channel = 0; channel < kPanel; channel += Int4::kWidth) {
      Int4::Store(Int4::Zero(), sums[r] + channel);
    }
  }
  const std::uint32_t* rows = job.rows + row * job.row_stride;
  for (int step = 0; step < job.num_steps; ++step) {
    const std::uint32_t* words = job.weights + step * kInt4StepWords;
    for (int channel = 0; channel < kPanel; channel += kChannels) {
      PrefetchPart<kChannels>(words, channel);
      typename Int4::Weights weights[kVectors];
      PG_UNROLL for (int v = 0; v < kVectors; ++v) {
        weights[v] = Int4::Load(words, channel + v * Int4::kWidth);
      }
      const std::uint32_t* x = rows + step * kInt4InputWords;
      const std::uint32_t* correction = rows + job.num_steps * kInt4InputWords + step;
      for (int r = 0; r < count; ++r, x += job.row_stride, correction += job.row_stride) {
        typename Int4::Sum next[kVectors];
        float* const own = sums[r] + channel;
        PG_UNROLL for (int v = 0; v < kVectors; ++v) {
          next[v] =
              Int4::MultiplyAdd(Int4::Resume(own + v * Int4::kWidth), x, correction, weights[v]);
        }
        PG_UNROLL for (int v = 0; v < kVectors; ++v) {
          Int4::Store(next[v], own + v * Int4::kWidth);
        }
      }
    }
  }
  for (int r = 0; r < count; ++r) {
    for (int channel = 0; channel < kPanel; channel += Int4::kWidth) {
      Int4::Store(Int4::Scaled(Int4::Resume(sums[r] + channel), job.row_scale[row + r]),
                  job.y + (row + r) * job.y_stride + channel);
    }
  }
}

// REQUIRES: 0 < job.num_rows <= kRows.
template <typename Int4, int kRows>
inline void MultiplyUpToInt4Rows(const PanelJob& job) {
  if constexpr (kRows > 0) {
    if (job.num_rows == kRows) {
      MultiplyFewInt4Rows<Int4, kRows>(job, 0);
    } else {
      MultiplyUpToInt4Rows<Int4, kRows - 1>(job);
    }
  }
}

template <typename Int4>
void MultiplyInt4Panel(const PanelJob& job) {
  if (job.num_rows <= Int4::kFewRows) {
    MultiplyUpToInt4Rows<Int4, Int4::kFewRows>(job);
    return;
  }
  for (int row = 0; row < job.num_rows; row += kInt4Rows) {
    const int count = job.num_rows - row < kInt4Rows ? job.num_rows - row : kInt4Rows;
    MultiplyManyInt4Rows<Int4>(job, row, count);
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_INT4_KERNEL_H_
