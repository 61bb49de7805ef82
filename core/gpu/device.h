// SPDX-License-Identifier: Apache-2.0
// What a kernel file includes instead of CUDA's own headers: CUDA C++ as it is spelt, and wrappers
// for the few things that need PTX. nvcc sees the instructions of the hardware (hardware.h), a host
// compiler those of the emulator (tests/gpu/emulator). Rules for kernels: shared memory comes from
// PG_SHARED alone, PTX stands in hardware.h alone, kernels are launched by Launch() alone.
#ifndef CORE_GPU_DEVICE_H_
#define CORE_GPU_DEVICE_H_

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include "core/gpu/hardware.h"
#else
#include "emulator/emulator.h"
#endif

namespace paligemma::gpu {

constexpr int kWarp = 32;

// Two bf16 in a register, the one of the lower address in the lower half.
__device__ __forceinline__ std::uint32_t PackBf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// The bf16 in the lower and in the upper half of a register.
__device__ __forceinline__ float LowBf16(std::uint32_t pair) {
  const std::uint32_t bits = pair << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
__device__ __forceinline__ float HighBf16(std::uint32_t pair) {
  const std::uint32_t bits = pair & 0xffff0000u;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// Sums and maxima over a warp. Every lane gets the same bits, in any order of the threads.
__device__ __forceinline__ float WarpSum(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}
__device__ __forceinline__ float WarpMax(float value) {
  for (int step = kWarp / 2; step > 0; step /= 2) {
    value = fmaxf(value, __shfl_xor_sync(~0u, value, step));
  }
  return value;
}

// Sums and maxima over a block of kThreads. `warps` is shared memory that serves one call only: a
// second call with the same memory would need a barrier before it.
template <int kThreads>
__device__ __forceinline__ float BlockSum(float value, float (&warps)[kThreads / kWarp]) {
  value = WarpSum(value);
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < kThreads / kWarp; ++i) sum += warps[i];
  return sum;
}
template <int kThreads>
__device__ __forceinline__ float BlockMax(float value, float (&warps)[kThreads / kWarp]) {
  value = WarpMax(value);
  if (threadIdx.x % kWarp == 0) warps[threadIdx.x / kWarp] = value;
  __syncthreads();
  float most = warps[0];
  for (int i = 1; i < kThreads / kWarp; ++i) most = fmaxf(most, warps[i]);
  return most;
}

}  // namespace paligemma::gpu

#endif  // CORE_GPU_DEVICE_H_
