// SPDX-License-Identifier: Apache-2.0
// Memory of the device, and what the kernels' tests share. The tests see launchers and this file
// alone, so the same sources test the emulator and a card.
#ifndef TESTS_GPU_DEVICE_MEMORY_H_
#define TESTS_GPU_DEVICE_MEMORY_H_

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/gpu/kernels.h"
#include "core/gpu/packing.h"
#if defined(PG_EMULATED)
#include "core/gpu/device.h"
#endif

namespace paligemma::gpu {

// Waits for the device. Returns an empty text, or why a launch failed.
inline std::string Wait(cudaError_t launched) {
#if defined(PG_EMULATED)
  const std::string error = emulator::LastError();
  emulator::Synchronize();
  return launched == cudaSuccess ? "" : "refused: " + error;
#else
  if (launched == cudaSuccess) launched = cudaDeviceSynchronize();
  return launched == cudaSuccess ? "" : cudaGetErrorString(launched);
#endif
}

#define EXPECT_RUNS(launch) EXPECT_EQ(::paligemma::gpu::Wait(launch), "")

// The emulator's memory is as large as asked for and not a byte larger, and starts as NaN.
template <typename T>
class DeviceMemory {
 public:
  explicit DeviceMemory(std::size_t count) : count_(count) {
    Allocate();
    Fill(0xff);
  }
  explicit DeviceMemory(const std::vector<T>& values) : count_(values.size()) {
    Allocate();
    Set(values);
  }
  ~DeviceMemory() {
#if defined(PG_EMULATED)
    std::free(data_);
#else
    cudaFree(data_);
#endif
  }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  T* get() const { return data_; }
  std::size_t size() const { return count_; }

  void Set(const std::vector<T>& values) {
#if defined(PG_EMULATED)
    std::memcpy(static_cast<void*>(data_), values.data(), count_ * sizeof(T));
#else
    cudaMemcpy(data_, values.data(), count_ * sizeof(T), cudaMemcpyHostToDevice);
#endif
  }
  void Fill(int byte) {
#if defined(PG_EMULATED)
    std::memset(static_cast<void*>(data_), byte, count_ * sizeof(T));
#else
    cudaMemset(data_, byte, count_ * sizeof(T));
#endif
  }
  std::vector<T> ToHost() const {
    std::vector<T> values(count_);
#if defined(PG_EMULATED)
    emulator::Synchronize();
    if (count_ > 0) std::memcpy(static_cast<void*>(values.data()), data_, count_ * sizeof(T));
#else
    cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost);
#endif
    return values;
  }

 private:
  void Allocate() {
#if defined(PG_EMULATED)
    if (posix_memalign(reinterpret_cast<void**>(&data_), 256, count_ * sizeof(T)) != 0)
      std::abort();
#else
    cudaMalloc(&data_, count_ * sizeof(T));
#endif
  }

  T* data_ = nullptr;
  const std::size_t count_;
};

// Runs a test body in three orders of threads and blocks, or once on a card. ThreadSanitizer sees a
// race in any order.
template <typename F>
void InEveryOrder(F body) {
#if defined(PG_EMULATED)
#if defined(__SANITIZE_THREAD__)
  const std::vector<unsigned> seeds = {1};
#else
  const std::vector<unsigned> seeds = {0, 1, 2};
#endif
  for (const unsigned seed : seeds) {
    emulator::TheOptions().seed = seed;
    SCOPED_TRACE("order of threads " + std::to_string(seed));
    body();
  }
  emulator::TheOptions().seed = 0;
#else
  body();
#endif
}

// Random values, the same in every run.
class Values {
 public:
  std::vector<float> Normal(std::size_t count, float size = 1) {
    std::normal_distribution<float> normal(0, size);
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    return values;
  }
  std::vector<int> Integers(std::size_t count, int least, int most) {
    std::uniform_int_distribution<int> uniform(least, most);
    std::vector<int> values(count);
    for (int& value : values) value = uniform(random_);
    return values;
  }

 private:
  std::mt19937 random_{1};
};

inline float ToBf16(float value) { return __bfloat162float(__float2bfloat16_rn(value)); }

// Values of a type as bytes, and back as floats.
inline std::vector<char> Encode(Type type, const std::vector<float>& values) {
  std::vector<char> bytes(values.size() * SizeOf(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (type == Type::kFloat32) {
      std::memcpy(&bytes[i * 4], &values[i], 4);
    } else if (type == Type::kBfloat16) {
      const __nv_bfloat16 rounded = __float2bfloat16_rn(values[i]);
      std::memcpy(&bytes[i * 2], &rounded, 2);
    } else {
      bytes[i] = static_cast<char>(std::nearbyint(values[i]));
    }
  }
  return bytes;
}
inline std::vector<float> Decode(Type type, const std::vector<char>& bytes) {
  std::vector<float> values(bytes.size() / SizeOf(type));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (type == Type::kFloat32) {
      std::memcpy(&values[i], &bytes[i * 4], 4);
    } else if (type == Type::kBfloat16) {
      __nv_bfloat16 value;
      std::memcpy(&value, &bytes[i * 2], 2);
      values[i] = __bfloat162float(value);
    } else {
      values[i] = static_cast<signed char>(bytes[i]);
    }
  }
  return values;
}

// |got - wanted| over |wanted|, both as vectors; NaN where one holds NaN.
template <typename Got, typename Wanted>
double RelativeError(const std::vector<Got>& got, const std::vector<Wanted>& wanted) {
  if (got.size() != wanted.size()) return NAN;
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double d = static_cast<double>(got[i]) - static_cast<double>(wanted[i]);
    difference += d * d;
    size += static_cast<double>(wanted[i]) * static_cast<double>(wanted[i]);
  }
  return size == 0 ? difference : std::sqrt(difference / size);
}

// NaN is no error here, but a bit pattern like others.
template <typename T>
bool SameBits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

inline const char* NameOf(Type type) {
  return type == Type::kFloat32 ? "float32" : type == Type::kBfloat16 ? "bfloat16" : "int8";
}

constexpr Type kTypes[] = {Type::kFloat32, Type::kBfloat16, Type::kInt8};

}  // namespace paligemma::gpu

#endif  // TESTS_GPU_DEVICE_MEMORY_H_
