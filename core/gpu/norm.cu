// SPDX-License-Identifier: Apache-2.0
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"
#include "core/gpu/row_output.h"

namespace paligemma::gpu {
namespace {

constexpr int kThreads = 256, kMaxVectors = 5;

// One piece of memory for each of the block's sums: no sum waits until the one before was read.
struct Shared {
  float of_y[kThreads / kWarp], of_h[kThreads / kWarp], most[kThreads / kWarp];
};

__device__ float SumOfSquares(float4 v) { return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; }
__device__ float4 Scaled(float4 v, float factor, float4 weight) {
  return make_float4(v.x * factor * (1 + weight.x), v.y * factor * (1 + weight.y),
                     v.z * factor * (1 + weight.z), v.w * factor * (1 + weight.w));
}

// A block is a row, which stays in registers: kVectors vectors of four values a thread.
template <int kVectors, Type kType>
__global__ void __launch_bounds__(kThreads) AddNormKernel(NormArguments a) {
  PG_SHARED(Shared, shared);
  WaitForPredecessor();
  const int row = static_cast<int>(blockIdx.x), vectors = a.width / 4;
  const int tid = static_cast<int>(threadIdx.x);
  const std::size_t start = std::size_t(row) * a.width;
  const auto* h = reinterpret_cast<const float4*>(a.h + start);
  float4 value[kVectors];
  float squares = 0;
  if (a.y != nullptr) {
    const auto* y = reinterpret_cast<const float4*>(a.y + start);
    const auto* y_norm = reinterpret_cast<const float4*>(a.y_norm);
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int at = tid + i * kThreads;
      value[i] = at < vectors ? y[at] : make_float4(0, 0, 0, 0);
      squares += SumOfSquares(value[i]);
    }
    const float mean = BlockSum<kThreads>(squares, shared.of_y) / a.width;
    const float factor = 1.0f / sqrtf(mean + a.eps);
    squares = 0;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int at = tid + i * kThreads;
      if (at < vectors) {
        const float4 add = Scaled(value[i], factor, y_norm[at]), old = h[at];
        value[i] = make_float4(old.x + add.x, old.y + add.y, old.z + add.z, old.w + add.w);
      }
      squares += SumOfSquares(value[i]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int at = tid + i * kThreads;
      value[i] = at < vectors ? h[at] : make_float4(0, 0, 0, 0);
      squares += SumOfSquares(value[i]);
    }
  }
  if (a.h_out != nullptr) {
    auto* out = reinterpret_cast<float4*>(a.h_out + start);
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int at = tid + i * kThreads;
      if (at < vectors) out[at] = value[i];
    }
  }
  LetSuccessorStart();
  if (a.norm == nullptr) return;
  const auto* norm = reinterpret_cast<const float4*>(a.norm);
  const float mean = BlockSum<kThreads>(squares, shared.of_h) / a.width;
  const float factor = 1.0f / sqrtf(mean + a.eps);
  float most = 0;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int at = tid + i * kThreads;
    if (at < vectors) {
      value[i] = Scaled(value[i], factor, norm[at]);
      most = fmaxf(most, MaxOf(value[i]));
    }
  }
  float scale = 1;
  if constexpr (kType == Type::kInt8) {
    scale = Int8Scale(BlockMax<kThreads>(most, shared.most));
    if (tid == 0) a.x.scale[row] = scale;
  }
  void* x = RowOf<kType>(a.x, row, a.width);
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int at = tid + i * kThreads;
    if (at < vectors) StoreFour<kType>(x, at, value[i], scale);
  }
}

template <Type kType>
cudaError_t LaunchNorm(const NormArguments& a, cudaStream_t stream) {
  const int vectors = (a.width / 4 + kThreads - 1) / kThreads;
  const auto kernel = vectors <= 1   ? AddNormKernel<1, kType>
                      : vectors <= 3 ? AddNormKernel<3, kType>
                                     : AddNormKernel<kMaxVectors, kType>;
  return Launch(kernel, dim3(a.rows), kThreads, sizeof(Shared), stream, a);
}

}  // namespace

cudaError_t AddNorm(const NormArguments& a, cudaStream_t stream) {
  if (a.width % 4 != 0 || a.width > kMaxVectors * kThreads * 4) return cudaErrorInvalidValue;
  switch (a.x.type) {
    case Type::kFloat32:
      return LaunchNorm<Type::kFloat32>(a, stream);
    case Type::kBfloat16:
      return LaunchNorm<Type::kBfloat16>(a, stream);
    case Type::kInt8:
      return LaunchNorm<Type::kInt8>(a, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace paligemma::gpu
