// SPDX-License-Identifier: Apache-2.0
// Products in which many rows multiply values that were widened once, for instruction sets that
// cannot multiply the narrow ones as fast: a piece of the panel is widened into the nearest cache,
// the rows are widened when they are made. Included by the files that are compiled for one
// instruction set, once each.
//
// A narrow arithmetic that is widened has a `Wide` one with two words of weights and of inputs for
// each of its own, and
//   WidenWeights(words, first, second)  kWidth words of weights
//   WidenInputs(words, wide)            kWidth words of a row, become 2 x kWidth
#ifndef CORE_CPU_WIDE_KERNEL_H_
#define CORE_CPU_WIDE_KERNEL_H_

#include <cstdint>

#include "core/cpu/kernels.h"
#include "core/cpu/packed_matrix.h"
#include "core/cpu/panel_kernel.h"
#include "core/cpu/row_kernels.h"

namespace paligemma::cpu {
namespace {

template <typename Narrow>
concept Widens = requires {
  typename Narrow::Wide;
};

// A row's words for each narrow one: itself and, behind all narrow ones, the wide ones.
template <typename Narrow>
constexpr int kRowWords = Widens<Narrow> ? 3 : 1;

// Fills the wide words behind the `count` narrow ones.
template <typename Narrow>
void WidenRow(std::uint32_t* row, int count) {
  if constexpr (Widens<Narrow>) {
    constexpr int kWidth = Narrow::kWidth;
    std::uint32_t* const wide = row + count;
    int i = 0;
    for (; i + kWidth <= count; i += kWidth) {
      Narrow::WidenInputs(row + i, wide + 2 * i);
    }
    if (i < count) {
      std::uint32_t words[kWidth] = {}, widened[2 * kWidth];
      for (int k = i; k < count; ++k) {
        words[k - i] = row[k];
      }
      Narrow::WidenInputs(words, widened);
      for (int k = 0; k < 2 * (count - i); ++k) {
        wide[2 * i + k] = widened[k];
      }
    }
  }
}

template <typename Int8>
float QuantizeRow(const float* x, int count, int words, std::uint32_t* row) {
  const float scale = Quantize(x, count, 4 * words, reinterpret_cast<std::uint8_t*>(row));
  WidenRow<Int8>(row, words);
  return scale;
}

template <typename Bfloat16>
void Bfloat16Row(const float* x, int count, int words, std::uint32_t* row) {
  ToBfloat16(x, count, 2 * words, reinterpret_cast<std::uint16_t*>(row));
  WidenRow<Bfloat16>(row, words);
}

// A whole number of steps of narrow words.
template <typename Narrow>
inline void WidenSteps(const std::uint32_t* words, int steps, std::uint32_t* wide) {
  for (int step = 0; step < steps; ++step, words += kPanel, wide += 2 * kPanel) {
    for (int channel = 0; channel < kPanel; channel += Narrow::kWidth) {
      Narrow::WidenWeights(words + channel, wide + channel, wide + kPanel + channel);
    }
  }
}

// 16 KiB when widened, which leaves room for the rows in the nearest cache.
constexpr int kWideBlockSteps = 32;

template <typename Narrow>
void MultiplyWidePanel(const PanelJob& job) {
  alignas(64) std::uint32_t widened[2 * kWideBlockSteps * kPanel];
  PanelJob wide = job;
  wide.num_steps = 2 * job.num_steps;
  wide.rows = job.rows + job.num_steps;
  for (int begin = 0; begin < job.num_steps; begin += kWideBlockSteps) {
    const int left = job.num_steps - begin, steps = left < kWideBlockSteps ? left : kWideBlockSteps;
    const std::uint32_t* words = job.weights + begin * kPanel;
    WidenSteps<Narrow>(words, steps, widened);
    Block block;
    block.words = widened;
    block.begin = 2 * begin;
    block.end = 2 * (begin + steps);
    AddBlock<typename Narrow::Wide>(wide, block, words + steps * kPanel);
  }
}

template <typename Narrow>
void MultiplyNarrowPanel(const PanelJob& job) {
  if constexpr (Widens<Narrow>) {
    if (job.num_rows > Narrow::kFewRows) {
      MultiplyWidePanel<Narrow>(job);
    } else {
      MultiplyFewRows<Narrow, Narrow::kFewRows>(job);
    }
  } else {
    MultiplyPanel<Narrow>(job);
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_WIDE_KERNEL_H_
