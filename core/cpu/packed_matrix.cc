// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace paligemma::cpu {
namespace {

template <typename Value>
void PackValues(const Value* source, std::int64_t outputs, std::int64_t inputs, std::int64_t panel,
                Value* words) {
  constexpr std::int64_t kPerWord = 4 / sizeof(Value);
  const std::int64_t steps = (inputs + kPerWord - 1) / kPerWord;
  const std::int64_t width = std::min(kPanel, outputs - panel * kPanel);
  Value* const begin = words + panel * steps * kPanel * kPerWord;
  if (width < kPanel || inputs % kPerWord != 0) {
    std::memset(begin, 0, steps * kPanel * 4);
  }
  // A few steps of all outputs at a time: the panel is written line by line, and the rows of the
  // source stay in the nearest cache.
  constexpr std::int64_t kInputsAtOnce = 64;
  for (std::int64_t first = 0; first < inputs; first += kInputsAtOnce) {
    const std::int64_t last = std::min(inputs, first + kInputsAtOnce);
    for (std::int64_t o = 0; o < width; ++o) {
      const Value* row = source + (panel * kPanel + o) * inputs;
      for (std::int64_t i = first; i < last; i += kPerWord) {
        std::memcpy(begin + (i / kPerWord * kPanel + o) * kPerWord, row + i,
                    std::min(kPerWord, last - i) * sizeof(Value));
      }
    }
  }
}

void SumRows(const std::int8_t* source, std::int64_t outputs, std::int64_t inputs,
             std::int64_t panel, std::int32_t* sums) {
  for (std::int64_t o = panel * kPanel; o < (panel + 1) * kPanel; ++o) {
    sums[o] = 0;
    for (std::int64_t i = 0; o < outputs && i < inputs; ++i) {
      sums[o] += source[o * inputs + i];
    }
  }
}

}  // namespace

void PackPanel(Encoding encoding, const void* source, std::int64_t outputs, std::int64_t inputs,
               std::int64_t panel, std::uint32_t* words, std::int32_t* sums) {
  switch (encoding) {
    case Encoding::kFloat32:
      PackValues(static_cast<const std::uint32_t*>(source), outputs, inputs, panel, words);
      break;
    case Encoding::kBfloat16:
      PackValues(static_cast<const std::uint16_t*>(source), outputs, inputs, panel,
                 reinterpret_cast<std::uint16_t*>(words));
      break;
    case Encoding::kInt8:
      PackValues(static_cast<const std::int8_t*>(source), outputs, inputs, panel,
                 reinterpret_cast<std::int8_t*>(words));
      SumRows(static_cast<const std::int8_t*>(source), outputs, inputs, panel, sums);
      break;
  }
}

void UnpackRow(const PackedMatrix& matrix, std::int64_t output, float* row) {
  const std::int64_t per_word = InputsPerWord(matrix.encoding);
  const std::uint32_t* word =
      matrix.words + output / kPanel * matrix.num_steps() * kPanel + output % kPanel;
  for (std::int64_t i = 0; i < matrix.inputs; ++i) {
    const std::uint32_t bits = word[i / per_word * kPanel];
    const int shift = static_cast<int>(i % per_word) * 32 / static_cast<int>(per_word);
    switch (matrix.encoding) {
      case Encoding::kFloat32:
        row[i] = std::bit_cast<float>(bits);
        break;
      case Encoding::kBfloat16:
        row[i] = std::bit_cast<float>(bits >> shift << 16);
        break;
      case Encoding::kInt8:
        row[i] = static_cast<std::int8_t>(bits >> shift);
        break;
    }
  }
}

}  // namespace paligemma::cpu
