// SPDX-License-Identifier: Apache-2.0
// The loops of a product with one panel, the same for every arithmetic and instruction set.
// Included by the files that are compiled for one instruction set, once each.
//
// An Arithmetic says how the words of one step are multiplied, for kWidth outputs at a time:
//   Weights, Input, Sum          what weights, one row's words of a step and a sum are held in
//   kInputWords                  the words of a row in a step
//   LoadWeights(words), LoadInput(words)
//   MultiplyAdd(sum, input, weights) -> Sum
//   Begin(job, channel), Resume(partial), Pause(sum, partial)   sums before, between, after blocks
//   Finish(job, row, channel, sum, y)
//   kVectors, kMaxRows           kVectors x kWidth outputs of kMaxRows rows are taken at once, as
//                                many as the registers hold
//   kFewRows                     up to so many rows read the weights in their order
//   kFewSums                     the sums that the registers hold beside kFewRows rows' inputs
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

// 128 KiB of weights at most: they stay in the second-level cache while all rows pass over them,
// and so do those that come next.
constexpr int kBlockSteps = 512;
// Of weights, in words: about what arrives while the loop works on what lies before it.
constexpr int kPrefetchWords = 1024;
constexpr int kLineWords = 16;

// Steps [begin, end) of a panel, and what to fetch meanwhile.
struct Block {
  const std::uint32_t* words = nullptr;  // of step `begin`
  int begin = 0, end = 0;
  const std::uint32_t* ahead = nullptr;  // fetched kLines lines a step,
  int ahead_stride = 0;                  // so many words further on with each step
};

template <typename Arithmetic, int kRows, int kVectors>
struct Sums {
  typename Arithmetic::Sum sums[kRows][kVectors];

  void Begin(const PanelJob& job, const Block& block, int row, int channel) {
    const float* y = job.y + row * job.y_stride + channel;
    PG_UNROLL for (int r = 0; r < kRows; ++r) {
      PG_UNROLL for (int i = 0; i < kVectors; ++i) {
        const int at = i * Arithmetic::kWidth;
        sums[r][i] = block.begin == 0 ? Arithmetic::Begin(job, channel + at)
                                      : Arithmetic::Resume(y + r * job.y_stride + at);
      }
    }
  }
  void End(const PanelJob& job, const Block& block, int row, int channel) const {
    float* y = job.y + row * job.y_stride + channel;
    const bool last = block.end == job.num_steps;
    PG_UNROLL for (int r = 0; r < kRows; ++r) {
      PG_UNROLL for (int i = 0; i < kVectors; ++i) {
        const int at = i * Arithmetic::kWidth;
        float* to = y + r * job.y_stride + at;
        if (last) {
          Arithmetic::Finish(job, row + r, channel + at, sums[r][i], to);
        } else {
          Arithmetic::Pause(sums[r][i], to);
        }
      }
    }
  }
};

template <int kLines>
inline void Fetch(const std::uint32_t* ahead) {
  PG_UNROLL for (int line = 0; line < kLines; ++line) {
    __builtin_prefetch(ahead + line * kLineWords, /*for writing:*/ 0, /*locality:*/ 2);
  }
}

// Adds the block's steps of kRows rows from `row` on to the sums of the outputs from `channel` on.
template <typename Arithmetic, int kRows, int kLines>
inline void AddSteps(const PanelJob& job, const Block& block, int row, int channel) {
  constexpr int kVectors = Arithmetic::kVectors, kWidth = Arithmetic::kWidth;
  Sums<Arithmetic, kRows, kVectors> all;
  all.Begin(job, block, row, channel);
  const std::uint32_t* words = block.words + channel;
  const std::uint32_t* ahead = block.ahead;
  const std::uint32_t* inputs = job.rows + row * job.row_stride;
  for (int step = block.begin; step < block.end; ++step) {
    Fetch<kLines>(ahead);
    ahead += block.ahead_stride;
    typename Arithmetic::Weights weights[kVectors];
    PG_UNROLL for (int i = 0; i < kVectors; ++i) {
      weights[i] = Arithmetic::LoadWeights(words + i * kWidth);
    }
    words += kPanel;
    PG_UNROLL for (int r = 0; r < kRows; ++r) {
      const auto input =
          Arithmetic::LoadInput(inputs + r * job.row_stride + step * Arithmetic::kInputWords);
      PG_UNROLL for (int i = 0; i < kVectors; ++i) {
        all.sums[r][i] = Arithmetic::MultiplyAdd(all.sums[r][i], input, weights[i]);
      }
    }
  }
  all.End(job, block, row, channel);
}

// `count` rows, at most kRows.
template <typename Arithmetic, int kRows, int kLines>
inline void AddRows(const PanelJob& job, const Block& block, int row, int count, int channel) {
  if constexpr (kRows > 0) {
    if (count >= kRows) {
      AddSteps<Arithmetic, kRows, kLines>(job, block, row, channel);
    } else {
      AddRows<Arithmetic, kRows - 1, kLines>(job, block, row, count, channel);
    }
  }
}

// All rows and outputs. While the first two parts pass over the block, each fetches half of as much
// from `next` on; if there is but one part, it fetches what it will come to itself.
template <typename Arithmetic>
inline void AddBlock(const PanelJob& job, Block block, const std::uint32_t* next) {
  constexpr int kRows = Arithmetic::kMaxRows;
  constexpr int kChannels = Arithmetic::kVectors * Arithmetic::kWidth;
  if (kChannels == kPanel && job.num_rows <= kRows) {
    block.ahead = block.words + kPrefetchWords;
    block.ahead_stride = kPanel;
    AddRows<Arithmetic, kRows, 4>(job, block, 0, job.num_rows, 0);
    return;
  }
  const int steps = block.end - block.begin;
  int part = 0;
  for (int row = 0; row < job.num_rows; row += kRows) {
    for (int channel = 0; channel < kPanel; channel += kChannels, ++part) {
      block.ahead = next + (part == 1 ? steps * kPanel / 2 : 0);
      block.ahead_stride = part < 2 ? static_cast<int>(kPanel) / 2 : 0;
      AddRows<Arithmetic, kRows, 2>(job, block, row, job.num_rows - row, channel);
    }
  }
}

// Few rows: a block is so small that it stays in the nearest cache while the parts of its outputs
// are passed over, and each part fetches as much of the next block.
constexpr int kFewBlockSteps = 32;

// The outputs, in vectors, whose sums of kRows rows the registers hold.
template <typename Arithmetic, int kRows>
constexpr int FewVectors() {
  int vectors = static_cast<int>(kPanel) / Arithmetic::kWidth;
  while (vectors * kRows > Arithmetic::kFewSums) {
    vectors /= 2;
  }
  return vectors;
}

// As AddSteps() for rows [0, kRows): a vector of weights is used up before the next one is loaded.
template <typename Arithmetic, int kRows>
inline void AddFewSteps(const PanelJob& job, const Block& block, int channel) {
  constexpr int kVectors = FewVectors<Arithmetic, kRows>(), kWidth = Arithmetic::kWidth;
  constexpr int kLines = static_cast<int>(kPanel) / kLineWords * kVectors * kWidth / kPanel;
  static_assert(kLines > 0);
  Sums<Arithmetic, kRows, kVectors> all;
  all.Begin(job, block, 0, channel);
  const std::uint32_t* words = block.words + channel;
  const std::uint32_t* ahead = block.ahead;
  for (int step = block.begin; step < block.end; ++step) {
    Fetch<kLines>(ahead);
    ahead += kLines * kLineWords;
    typename Arithmetic::Input inputs[kRows];
    PG_UNROLL for (int r = 0; r < kRows; ++r) {
      inputs[r] =
          Arithmetic::LoadInput(job.rows + r * job.row_stride + step * Arithmetic::kInputWords);
    }
    PG_UNROLL for (int i = 0; i < kVectors; ++i) {
      const auto weights = Arithmetic::LoadWeights(words + i * kWidth);
      PG_UNROLL for (int r = 0; r < kRows; ++r) {
        all.sums[r][i] = Arithmetic::MultiplyAdd(all.sums[r][i], inputs[r], weights);
      }
    }
    words += kPanel;
  }
  all.End(job, block, 0, channel);
}

template <typename Arithmetic, int kRows>
inline void MultiplyFew(const PanelJob& job) {
  constexpr int kChannels = FewVectors<Arithmetic, kRows>() * Arithmetic::kWidth;
  for (int begin = 0; begin < job.num_steps; begin += kFewBlockSteps) {
    Block block;
    block.words = job.weights + begin * kPanel;
    block.begin = begin;
    block.end = begin + kFewBlockSteps < job.num_steps ? begin + kFewBlockSteps : job.num_steps;
    block.ahead = job.weights + block.end * kPanel;
    for (int channel = 0; channel < kPanel; channel += kChannels) {
      AddFewSteps<Arithmetic, kRows>(job, block, channel);
      block.ahead += (block.end - begin) * kChannels;
    }
  }
}

// REQUIRES: 0 < job.num_rows <= kRows.
template <typename Arithmetic, int kRows>
inline void MultiplyFewRows(const PanelJob& job) {
  if constexpr (kRows > 0) {
    if (job.num_rows == kRows) {
      MultiplyFew<Arithmetic, kRows>(job);
    } else {
      MultiplyFewRows<Arithmetic, kRows - 1>(job);
    }
  }
}

template <typename Arithmetic>
void MultiplyPanel(const PanelJob& job) {
  if (job.num_rows <= Arithmetic::kFewRows) {
    MultiplyFewRows<Arithmetic, Arithmetic::kFewRows>(job);
    return;
  }
  const int num_blocks = (job.num_steps + kBlockSteps - 1) / kBlockSteps;
  const int size = (job.num_steps + num_blocks - 1) / num_blocks;  // all alike
  for (int begin = 0; begin < job.num_steps; begin += size) {
    Block block;
    block.words = job.weights + begin * kPanel;
    block.begin = begin;
    block.end = begin + size < job.num_steps ? begin + size : job.num_steps;
    AddBlock<Arithmetic>(job, block, job.weights + block.end * kPanel);
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_PANEL_KERNEL_H_
