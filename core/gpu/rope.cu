// SPDX-License-Identifier: Apache-2.0
#include "core/gpu/device.h"
#include "core/gpu/kernels.h"
#include "core/gpu/row_output.h"

namespace paligemma::gpu {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / kWarp;
constexpr float kSmallestKey = 1e-12f;

// A block is a row, a thread a frequency. Roundings as in the reference kernel: exponent, frequency
// and angle in f32, cosine and sine in f64.
__global__ void __launch_bounds__(kThreads) RopeKernel(RopeArguments a) {
  WaitForPredecessor();
  const int half = a.head_dim / 2;
  float* row = a.out + std::size_t(blockIdx.x) * a.head_dim;
  const float position = static_cast<float>(a.positions[blockIdx.x]);
  for (int i = static_cast<int>(threadIdx.x); i < half; i += kThreads) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(a.head_dim);
    const float power = static_cast<float>(pow(a.theta, static_cast<double>(exponent)));
    const float angle = position * (1.0f / power);
    double sine = 0, cosine = 0;
    sincos(static_cast<double>(angle), &sine, &cosine);
    row[i] = static_cast<float>(cosine);
    row[half + i] = static_cast<float>(sine);
  }
}

// One warp writes one head's keys or values to the page row `at`.
template <Type kType>
__device__ void WriteHead(const float* head, int dim, std::size_t at, void* pages, float* scales) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, vectors = dim / 4;
  const auto* values = reinterpret_cast<const float4*>(head);
  float scale = 1;
  if constexpr (kType == Type::kInt8) {
    float most = 0;
    for (int i = lane; i < vectors; i += kWarp) most = fmaxf(most, MaxOf(values[i]));
    scale = fmaxf(WarpMax(most), kSmallestKey) / kLargestInt8;
    if (lane == 0) scales[at] = scale;
  }
  void* row = static_cast<char*>(pages) + at * dim * SizeOf(kType);
  for (int i = lane; i < vectors; i += kWarp) StoreFour<kType>(row, i, values[i], scale);
}

// A block is a row, a warp a head.
template <Type kType>
__global__ void __launch_bounds__(kThreads) RotateKernel(RotateArguments a) {
  WaitForPredecessor();
  const int row = static_cast<int>(blockIdx.x), lane = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int dim = a.pages.head_dim, half = dim / 2, kv_heads = a.pages.kv_heads;
  const float* cosine = a.rope + std::size_t(row) * dim;
  const float* sine = cosine + half;
  float* all = a.qkv + std::size_t(row) * (a.heads + 2 * kv_heads) * dim;
  const int slot = a.slots[row];
#pragma unroll 1
  for (int i = warp; i < a.heads + 2 * kv_heads; i += kWarps) {
    float* head = all + std::size_t(i) * dim;
    const bool is_value = i >= a.heads + kv_heads;
#pragma unroll 1
    for (int j = lane; j < half; j += kWarp) {
      float first = head[j], second = head[half + j];
      if (!is_value) {
        const float turned = first * cosine[j] - second * sine[j];
        second = second * cosine[j] + first * sine[j];
        first = turned;
      }
      if (kType == Type::kBfloat16 && i >= a.heads) {
        first = __bfloat162float(__float2bfloat16_rn(first));
        second = __bfloat162float(__float2bfloat16_rn(second));
      }
      head[j] = first;
      head[half + j] = second;
    }
    if (i < a.heads || slot < 0) continue;
    __syncwarp();  // the warp reads the head again, four values a lane
    const int kv_head = (i - a.heads) % kv_heads;
    const std::size_t at =
        (std::size_t(slot / a.pages.block_size) * kv_heads + kv_head) * a.pages.block_size +
        slot % a.pages.block_size;
    WriteHead<kType>(head, dim, at, is_value ? a.pages.values : a.pages.keys,
                     is_value ? a.pages.value_scales : a.pages.key_scales);
  }
  LetSuccessorStart();
}

}  // namespace

cudaError_t Rope(const RopeArguments& a, cudaStream_t stream) {
  return Launch(RopeKernel, dim3(a.rows), kThreads, 0, stream, a);
}

cudaError_t RotateAndWrite(const RotateArguments& a, cudaStream_t stream) {
  if (a.pages.head_dim % 8 != 0) return cudaErrorInvalidValue;
  const auto kernel = a.pages.type == Type::kFloat32    ? RotateKernel<Type::kFloat32>
                      : a.pages.type == Type::kBfloat16 ? RotateKernel<Type::kBfloat16>
                                                        : RotateKernel<Type::kInt8>;
  return Launch(kernel, dim3(a.rows), kThreads, 0, stream, a);
}

}  // namespace paligemma::gpu
