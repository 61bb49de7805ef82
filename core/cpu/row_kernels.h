// SPDX-License-Identifier: Apache-2.0
// Work on single rows, written once over Vector. Included by the files that are compiled for one
// instruction set, after the header that defines it.
#ifndef CORE_CPU_ROW_KERNELS_H_
#define CORE_CPU_ROW_KERNELS_H_

#include <cstdint>

#include "core/cpu/packed_matrix.h"

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

inline float ScaleOf(const float* x, int count) {
  Vector most = Vector::Zero();
  ForEachVector(x, count, [&](Vector v, int, int) { most = Vector::MaxOfAbs(most, v.Abs()); });
  const float largest = most.LargestOfAbs();
  // Not max(): a NaN must stay.
  return (largest < 1e-30f ? 1e-30f : largest) / 127.f;
}

float Quantize(const float* x, int count, int padded, std::uint8_t* out) {
  const float scale = ScaleOf(x, count);
  const Vector divisor = Vector::All(scale), offset = Vector::All(128.f);
  ForEachVector(x, count, [&](Vector v, int first, int width) {
    ((v / divisor).Rounded() + offset).StoreBytes(out + first, width);
  });
  for (int i = count; i < padded; ++i) {
    out[i] = 128;
  }
  return scale;
}

float QuantizeSigned(const float* x, int count, std::int8_t* out) {
  const float scale = ScaleOf(x, count);
  const Vector divisor = Vector::All(scale);
  ForEachVector(x, count, [&](Vector v, int first, int width) {
    (v / divisor).Rounded().StoreBytes(reinterpret_cast<std::uint8_t*>(out) + first, width);
  });
  return scale;
}

float QuantizeInGroups(const float* x, int count, std::int8_t* out, std::int32_t* corrections) {
  const float scale = QuantizeSigned(x, count, out);
  constexpr int kGroup = static_cast<int>(kInt4Group);
  for (int group = 0; group < count / kGroup; ++group) {
    std::int32_t sum = 0;
    for (int i = 0; i < kGroup; ++i) {
      sum += out[group * kGroup + i];
    }
    corrections[group] = -8 * sum;
  }
  return scale;
}

// To about one unit in the last place; no less than the smallest normal value.
inline Vector Exp(Vector x) {
  // Arguments in this order hand a NaN on.
  x = Vector::Min(Vector::All(88.f), Vector::Max(Vector::All(-87.f), x));
  const Vector n = (x * Vector::All(1.44269504f)).Rounded();
  // ln 2 in two parts, the first exact in n * part.
  Vector r = Vector::MultiplyAdd(n, Vector::All(-0.693359375f), x);
  r = Vector::MultiplyAdd(n, Vector::All(2.12194440e-4f), r);
  Vector sum = Vector::All(1.9875691500e-4f);
  for (const float coefficient :
       {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) {
    sum = Vector::MultiplyAdd(sum, r, Vector::All(coefficient));
  }
  const Vector one = Vector::All(1.f);
  return (Vector::MultiplyAdd(sum, r * r, r) + one) * n.PowerOfTwo();
}

inline Vector Tanh(Vector x) {
  const Vector size = x.Abs(), one = Vector::All(1.f), square = x * x;
  // 1 - 2 / (e^2x + 1) loses the digits of small values: those take a polynomial.
  const Vector large = Vector::CopySign(one - Vector::All(2.f) / (Exp(size + size) + one), x);
  Vector sum = Vector::All(-5.70498872745e-3f);
  for (const float coefficient :
       {2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f, -3.33332819422e-1f}) {
    sum = Vector::MultiplyAdd(sum, square, Vector::All(coefficient));
  }
  const Vector small = Vector::MultiplyAdd(sum * square, x, x);
  return Vector::Less(size, Vector::All(0.625f), small, large);
}

inline Vector Gelu(Vector x) {
  const Vector cubic = Vector::MultiplyAdd(x * x * x, Vector::All(0.044715f), x);
  const Vector one = Vector::All(1.f);
  return Vector::All(0.5f) * x * (one + Tanh(cubic * Vector::All(0.7978845608f)));
}

// Calls body(load, store) for each vector of rows with `count` values: load(p) and store(v, p) know
// where in the rows p it lies and how many values it has.
template <typename Body>
inline void ForEachPart(int count, const Body& body) {
  int i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    body([i](const float* p) { return Vector::Load(p + i); },
         [i](Vector v, float* p) { v.Store(p + i); });
  }
  if (i < count) {
    const int rest = count - i;
    body([i, rest](const float* p) { return Vector::LoadFirst(p + i, rest); },
         [i, rest](Vector v, float* p) { v.StoreFirst(p + i, rest); });
  }
}

inline float InverseRms(const float* x, int count, float eps) {
  Vector sum = Vector::Zero();
  ForEachVector(x, count, [&](Vector v, int, int) { sum = Vector::MultiplyAdd(v, v, sum); });
  return 1.f / __builtin_sqrtf(sum.Sum() / static_cast<float>(count) + eps);
}

void RmsNorm(const float* x, const float* weight, int count, float eps, float* out) {
  const Vector scale = Vector::All(InverseRms(x, count, eps)), one = Vector::All(1.f);
  ForEachPart(count,
              [&](auto load, auto store) { store(load(x) * scale * (one + load(weight)), out); });
}

void AddRmsNorm(const float* y, const float* weight, int count, float eps, float* h) {
  const Vector scale = Vector::All(InverseRms(y, count, eps)), one = Vector::All(1.f);
  ForEachPart(count, [&](auto load, auto store) {
    store(load(h) + load(y) * scale * (one + load(weight)), h);
  });
}

void LayerNorm(const float* x, const float* weight, const float* bias, int count, float eps,
               float* out) {
  Vector sum = Vector::Zero();
  ForEachVector(x, count, [&](Vector v, int, int) { sum = sum + v; });
  const Vector mean = Vector::All(sum.Sum() / static_cast<float>(count));
  ForEachPart(count, [&](auto load, auto store) { store(load(x) - mean, out); });
  const Vector scale = Vector::All(InverseRms(out, count, eps));
  ForEachPart(count, [&](auto load, auto store) {
    store(Vector::MultiplyAdd(load(out) * scale, load(weight), load(bias)), out);
  });
}

void Add(const float* x, int count, float* sum) {
  ForEachPart(count, [&](auto load, auto store) { store(load(sum) + load(x), sum); });
}

void GeluOfSum(const float* x, const float* bias, int count, float* out) {
  ForEachPart(count, [&](auto load, auto store) { store(Gelu(load(x) + load(bias)), out); });
}

void GeluTimes(const float* gate, const float* up, int count, float* out) {
  ForEachPart(count, [&](auto load, auto store) { store(Gelu(load(gate)) * load(up), out); });
}

void Rotate(const float* cosine, const float* sine, int half, float* x) {
  float* second = x + half;
  ForEachPart(half, [&](auto load, auto store) {
    const Vector a = load(x), b = load(second), c = load(cosine), s = load(sine);
    store(a * c - b * s, x);
    store(b * c + a * s, second);
  });
}

void RoundToBfloat16(int count, float* x) {
  ForEachPart(count, [&](auto load, auto store) { store(load(x).RoundedToBfloat16(), x); });
}

void Softcap(int count, float cap, float* x) {
  const Vector most = Vector::All(cap);
  ForEachPart(count, [&](auto load, auto store) { store(Tanh(load(x) / most) * most, x); });
}

float Largest(const float* x, int count) {
  // Max() may drop a NaN, the largest of absolute values does not.
  Vector most = Vector::All(-__builtin_inff()), size = Vector::Zero();
  int i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    const Vector v = Vector::Load(x + i);
    most = Vector::Max(most, v);
    size = Vector::MaxOfAbs(size, v.Abs());
  }
  float largest = most.Largest(), most_of_size = size.LargestOfAbs();
  for (; i < count; ++i) {
    largest = x[i] > largest ? x[i] : largest;
    most_of_size = x[i] != x[i] ? x[i] : most_of_size;
  }
  return most_of_size != most_of_size ? most_of_size : largest;
}

float SumOfExp(const float* x, int count, float shift) {
  const Vector all = Vector::All(shift);
  Vector sum = Vector::Zero();
  int i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    sum = sum + Exp(Vector::Load(x + i) - all);
  }
  float total = sum.Sum();
  if (i < count) {
    float rest[Vector::kWidth];
    Exp(Vector::LoadFirst(x + i, count - i) - all).Store(rest);
    for (int k = 0; k < count - i; ++k) {
      total += rest[k];
    }
  }
  return total;
}

void Softmax(int count, int padded, float scale, float softcap, float* scores) {
  const Vector factor = Vector::All(scale), cap = Vector::All(softcap);
  float largest = -__builtin_inff();
  ForEachPart(count, [&](auto load, auto store) {
    const Vector scaled = load(scores) * factor;
    store(softcap > 0 ? Tanh(scaled / cap) * cap : scaled, scores);
  });
  Vector most = Vector::All(largest);
  int i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    most = Vector::Max(most, Vector::Load(scores + i));
  }
  largest = most.Largest();
  for (; i < count; ++i) {
    largest = scores[i] > largest ? scores[i] : largest;
  }
  Vector sum = Vector::Zero();
  const Vector shift = Vector::All(largest);
  i = 0;
  for (; i + Vector::kWidth <= count; i += Vector::kWidth) {
    const Vector weight = Exp(Vector::Load(scores + i) - shift);
    sum = sum + weight;
    weight.Store(scores + i);
  }
  float total = sum.Sum();
  if (i < count) {
    Exp(Vector::LoadFirst(scores + i, count - i) - shift).StoreFirst(scores + i, count - i);
    for (int k = i; k < count; ++k) {
      total += scores[k];
    }
  }
  const Vector part = Vector::All(1.f / total);
  ForEachPart(count, [&](auto load, auto store) { store(load(scores) * part, scores); });
  for (int k = count; k < padded; ++k) {
    scores[k] = 0;
  }
}

}  // namespace
}  // namespace paligemma::cpu

#endif  // CORE_CPU_ROW_KERNELS_H_
