// SPDX-License-Identifier: Apache-2.0
// The tensor cores' part of the emulator: which lane holds which value, and the products.
#include "core/gpu/device.h"

namespace emulator {
namespace {

// How many values lie in a 32-bit register, and what they are.
template <typename Sum>
struct Values;

template <>
struct Values<float> {  // bf16
  static constexpr int kPerRegister = 2;
  static float At(std::uint32_t bits, int i) {
    return std::bit_cast<float>(i == 0 ? bits << 16 : bits & 0xffff0000u);
  }
};

template <>
struct Values<int> {  // int8
  static constexpr int kPerRegister = 4;
  static int At(std::uint32_t bits, int i) { return static_cast<std::int8_t>(bits >> (8 * i)); }
};

}  // namespace

template <typename Sum>
void MmaBody(void* const lanes[32], unsigned) {
  using V = Values<Sum>;
  constexpr int kValues = V::kPerRegister, kInner = 8 * kValues;
  Sum a[16][kInner], b[kInner][8], sums[16][8] = {};
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<MmaSlot<Sum>*>(lanes[lane]);
    const int group = lane / 4, first = lane % 4 * kValues;
    for (int v = 0; v < kValues; ++v) {
      for (int i = 0; i < 4; ++i) {
        a[group + i % 2 * 8][first + i / 2 * (kInner / 2) + v] = V::At(own.a[i], v);
      }
      for (int i = 0; i < 2; ++i) b[first + i * (kInner / 2) + v][group] = V::At(own.b[i], v);
    }
  }
  for (int i = 0; i < 16; ++i) {
    for (int k = 0; k < kInner; ++k) {
      for (int j = 0; j < 8; ++j) sums[i][j] += a[i][k] * b[k][j];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    Sum* d = static_cast<MmaSlot<Sum>*>(lanes[lane])->d;
    for (int i = 0; i < 4; ++i) d[i] += sums[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}
template void MmaBody<float>(void* const lanes[32], unsigned);
template void MmaBody<int>(void* const lanes[32], unsigned);

template <bool kTransposed>
void MatrixBody(void* const lanes[32], unsigned) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      const auto at = [&](int row, int column) -> std::uint32_t {
        return static_cast<MatrixSlot*>(lanes[matrix * 8 + row])->row[column];
      };
      const int group = lane / 4, pair = lane % 4 * 2;
      static_cast<MatrixSlot*>(lanes[lane])->r[matrix] =
          kTransposed ? at(pair, group) | at(pair + 1, group) << 16
                      : at(group, pair) | at(group, pair + 1) << 16;
    }
  }
}
template void MatrixBody<false>(void* const lanes[32], unsigned);
template void MatrixBody<true>(void* const lanes[32], unsigned);

}  // namespace emulator
