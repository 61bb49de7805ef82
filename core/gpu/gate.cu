// SPDX-License-Identifier: Apache-2.0
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"
#include "core/gpu/row_output.h"

namespace paligemma::gpu {
namespace {

constexpr int kThreads = 256;

struct Shared {
  float most[kThreads / kWarp];
};

// gelu_tanh(x) y
__device__ float Gated(float x, float y) {
  constexpr float kRootOfTwoOverPi = 0.79788456f, kCubic = 0.044715f;
  const float inner = kRootOfTwoOverPi * (x + kCubic * x * x * x);
  return 0.5f * x * (1.0f + tanhf(inner)) * y;
}

struct GateValues {
  const float* gate_up;
  __device__ float4 operator()(int row, int width, int vector) const {
    const auto* gate = reinterpret_cast<const float4*>(gate_up + std::size_t(row) * 2 * width);
    const float4 x = gate[vector], y = gate[width / 4 + vector];
    return make_float4(Gated(x.x, y.x), Gated(x.y, y.y), Gated(x.z, y.z), Gated(x.w, y.w));
  }
};

struct PlainValues {
  const float* values;
  __device__ float4 operator()(int row, int width, int vector) const {
    return reinterpret_cast<const float4*>(values + std::size_t(row) * width)[vector];
  }
};

// A block is a row. An int8 row is computed twice, which costs less than to keep it.
template <Type kType, typename Values>
__global__ void __launch_bounds__(kThreads) RowKernel(Values values, ProductRows x, int width) {
  PG_SHARED(Shared, shared);
  WaitForPredecessor();
  const int row = static_cast<int>(blockIdx.x), vectors = width / 4;
  const int tid = static_cast<int>(threadIdx.x);
  float scale = 1;
  if constexpr (kType == Type::kInt8) {
    float most = 0;
    for (int i = tid; i < vectors; i += kThreads) most = fmaxf(most, MaxOf(values(row, width, i)));
    scale = Int8Scale(BlockMax<kThreads>(most, shared.most));
    if (tid == 0) x.scale[row] = scale;
  }
  LetSuccessorStart();
  void* out = RowOf<kType>(x, row, width);
  for (int i = tid; i < vectors; i += kThreads) {
    StoreFour<kType>(out, i, values(row, width, i), scale);
  }
}

template <typename Values>
cudaError_t LaunchRows(Values values, const ProductRows& x, int rows, int width,
                       cudaStream_t stream) {
  if (width % 4 != 0) return cudaErrorInvalidValue;
  const auto kernel = x.type == Type::kFloat32    ? RowKernel<Type::kFloat32, Values>
                      : x.type == Type::kBfloat16 ? RowKernel<Type::kBfloat16, Values>
                                                  : RowKernel<Type::kInt8, Values>;
  return Launch(kernel, dim3(rows), kThreads, sizeof(Shared), stream, values, x, width);
}

}  // namespace

cudaError_t Gate(const GateArguments& a, cudaStream_t stream) {
  return LaunchRows(GateValues{a.gate_up}, a.x, a.rows, a.width, stream);
}

cudaError_t Convert(const ConvertArguments& a, cudaStream_t stream) {
  return LaunchRows(PlainValues{a.values}, a.x, a.rows, a.width, stream);
}

}  // namespace paligemma::gpu
