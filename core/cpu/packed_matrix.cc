// SPDX-License-Identifier: Apache-2.0
#include "core/cpu/packed_matrix.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace paligemma::cpu {
namespace {

// Where an fp8 word's inputs lie: the lower bytes of its halves become one word of bfloat16 pairs,
// the upper ones the next.
constexpr int kFp8Byte[] = {0, 2, 1, 3};

template <typename Value>
void PackValues(const PlainMatrix& source, std::int64_t panel, void* words) {
  constexpr std::int64_t kPerWord = 4 / sizeof(Value);
  const std::int64_t inputs = source.inputs, steps = (inputs + kPerWord - 1) / kPerWord;
  const std::int64_t width = std::min(kPanel, source.outputs - panel * kPanel);
  Value* const begin = static_cast<Value*>(words) + panel * steps * kPanel * kPerWord;
  if (width < kPanel || inputs % kPerWord != 0) {
    std::memset(begin, 0, steps * kPanel * 4);
  }
  // A few steps of all outputs at a time: the panel is written line by line, and the rows of the
  // source stay in the nearest cache.
  constexpr std::int64_t kInputsAtOnce = 64;
  for (std::int64_t first = 0; first < inputs; first += kInputsAtOnce) {
    const std::int64_t last = std::min(inputs, first + kInputsAtOnce);
    for (std::int64_t o = 0; o < width; ++o) {
      const Value* row = static_cast<const Value*>(source.values) + (panel * kPanel + o) * inputs;
      for (std::int64_t i = first; i < last; i += kPerWord) {
        std::memcpy(begin + (i / kPerWord * kPanel + o) * kPerWord, row + i,
                    std::min(kPerWord, last - i) * sizeof(Value));
      }
    }
  }
}

void ReorderFp8(std::int64_t count, std::uint32_t* words) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint32_t word = words[i];
    words[i] = (word & 0xff0000ffu) | (word >> 8 & 0xff) << 16 | (word >> 16 & 0xff) << 8;
  }
}

void SumRows(const PlainMatrix& source, std::int64_t panel, std::int32_t* sums) {
  const auto* values = static_cast<const std::int8_t*>(source.values);
  for (std::int64_t o = panel * kPanel; o < (panel + 1) * kPanel; ++o) {
    sums[o] = 0;
    for (std::int64_t i = 0; o < source.outputs && i < source.inputs; ++i) {
      sums[o] += values[o * source.inputs + i];
    }
  }
}

// Eight inputs of four bytes as bundles store them -> a word.
std::uint32_t Int4Word(const std::uint8_t* bytes) {
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t first = bytes[i / 2] >> (i % 2 * 4) & 15u;
    const std::uint32_t second = bytes[2 + i / 2] >> (i % 2 * 4) & 15u;
    word |= (first | second << 4) << (8 * i);
  }
  return word;
}

void PackInt4(const PlainMatrix& source, std::int64_t panel, std::uint32_t* words) {
  constexpr std::int64_t kStepWords = WordsPerStep(Encoding::kInt4);
  const std::int64_t groups = source.inputs / kInt4Group;
  const std::int64_t width = std::min(kPanel, source.outputs - panel * kPanel);
  const auto* values = static_cast<const std::uint8_t*>(source.values);
  words += panel * groups * kStepWords;
  if (width < kPanel) {
    std::memset(words, 0, groups * kStepWords * 4);  // with a scale of 0
  }
  for (std::int64_t group = 0; group < groups; ++group) {
    std::uint32_t* step = words + group * kStepWords;
    auto* scales = reinterpret_cast<std::uint16_t*>(step + kInt4Words * kPanel);
    for (std::int64_t o = 0; o < width; ++o) {
      const std::int64_t row = panel * kPanel + o;
      const std::uint8_t* own = values + (row * groups + group) * kInt4Group / 2;
      for (std::int64_t k = 0; k < kInt4Words; ++k) {
        step[k * kPanel + o] = Int4Word(own + 4 * k);
      }
      scales[o] = source.group_scales[row * groups + group];
    }
  }
}

float FromBfloat16(std::uint32_t bits) { return std::bit_cast<float>(bits << 16); }

float FromFp8(std::uint32_t byte) {
  const int exponent = static_cast<int>(byte >> 3 & 15);
  const float mantissa = static_cast<float>(byte & 7) / 8 + (exponent > 0 ? 1.f : 0.f);
  const float power = FromBfloat16(static_cast<std::uint32_t>(std::max(exponent, 1) + 120) << 7);
  return (byte & 0x80) != 0 ? -mantissa * power : mantissa * power;
}

float Int4Value(const std::uint32_t* panel, std::int64_t output, std::int64_t input) {
  const std::uint32_t* step = panel + input / kInt4Group * WordsPerStep(Encoding::kInt4);
  const std::int64_t i = input % kInt4Group;
  const std::uint32_t word = step[i / 8 * kPanel + output];
  const int value = static_cast<int>(word >> (i % 4 * 8 + i % 8 / 4 * 4) & 15) - 8;
  const auto* scales = reinterpret_cast<const std::uint16_t*>(step + kInt4Words * kPanel);
  return static_cast<float>(value) * FromBfloat16(scales[output]);
}

}  // namespace

void PackPanel(const PlainMatrix& source, std::int64_t panel, std::uint32_t* words,
               std::int32_t* sums) {
  switch (source.encoding) {
    case Encoding::kFloat32:
      PackValues<std::uint32_t>(source, panel, words);
      break;
    case Encoding::kBfloat16:
      PackValues<std::uint16_t>(source, panel, words);
      break;
    case Encoding::kInt8:
      PackValues<std::uint8_t>(source, panel, words);
      SumRows(source, panel, sums);
      break;
    case Encoding::kInt4:
      PackInt4(source, panel, words);
      break;
    case Encoding::kFp8: {
      PackValues<std::uint8_t>(source, panel, words);
      const std::int64_t count = NumSteps(Encoding::kFp8, source.inputs) * kPanel;
      ReorderFp8(count, words + panel * count);
      break;
    }
  }
}

void UnpackRow(const PackedMatrix& matrix, std::int64_t output, float* row) {
  const std::int64_t per_step = InputsPerStep(matrix.encoding);
  const std::uint32_t* panel = matrix.words + output / kPanel * matrix.panel_words();
  for (std::int64_t i = 0; i < matrix.inputs; ++i) {
    if (matrix.encoding == Encoding::kInt4) {
      row[i] = Int4Value(panel, output % kPanel, i);
      continue;
    }
    const std::uint32_t word = panel[i / per_step * kPanel + output % kPanel];
    const auto place = static_cast<int>(i % per_step);
    switch (matrix.encoding) {
      case Encoding::kFloat32:
        row[i] = std::bit_cast<float>(word);
        break;
      case Encoding::kBfloat16:
        row[i] = FromBfloat16(word >> (16 * place) & 0xffff);
        break;
      case Encoding::kInt8:
        row[i] = static_cast<std::int8_t>(word >> (8 * place));
        break;
      case Encoding::kFp8:
        row[i] = FromFp8(word >> (8 * kFp8Byte[place]) & 0xff);
        break;
      case Encoding::kInt4:
        break;
    }
  }
}

}  // namespace paligemma::cpu
