// SPDX-License-Identifier: Apache-2.0
// Work on single rows, written once over Vector. Included by the files that are compiled for one
// instruction set, after the header that defines it.
#ifndef CORE_CPU_ROW_KERNELS_H_
#define CORE_CPU_ROW_KERNELS_H_

#include <cstdint>

namespace paligemma::cpu {
namespace {

// Calls body(vector, first, count) for the vectors of x in ascending order; the last one may hold
// fewer values than a vector does, with zeros behind them.
template <typename Body>
inline void ForEachVector(const float* x, int count, const Body& body) {
  int i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    body(Vector::Load(x + i), i, Vector::kWidth);
  }
  if (i < count) {
    body(Vector::LoadFirst(x + i, count - i), i, count - i);
  }
}

void ToBfloat16(const float* x, int count, int padded, std::uint16_t* out) {
  ForEachVector(x, count, [&](Vector v, int first, int width) {
    v.RoundedToBfloat16().StoreUpperHalves(out + first, width);
  });
  for (int i = count; i < padded; ++i) {
    out[i] = 0;
  }
}

float Quantize(const float* x, int count, int padded, std::uint8_t* out) {
  Vector most = Vector::Zero();
  ForEachVector(x, count, [&](Vector v, int, int) { most = Vector::MaxOfAbs(most, v.Abs()); });
  const float largest = most.LargestOfAbs();
  // Not max(): a NaN must stay.
  const float scale = (largest < 1e-30f ? 1e-30f : largest) / 127.f;
  const Vector divisor = Vector::All(scale), offset = Vector::All(128.f);
  ForEachVector(x, count, [&](Vector v, int first, int width) {
    ((v / divisor).Rounded() + offset).StoreBytes(out + first, width);
  });
  for (int i = count; i < padded; ++i) {
    out[i] = 128;
  }
  return scale;
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_ROW_KERNELS_H_
