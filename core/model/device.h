// SPDX-License-Identifier: Apache-2.0
// Choosing the device. The server links libtorch_cpu alone; what a GPU needs lies in the plugin
// libpaligemma_cuda.so. No LibTorch type here.
#ifndef CORE_MODEL_DEVICE_H_
#define CORE_MODEL_DEVICE_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/status.h"

namespace paligemma {

// Where a model computes: the CPU, or one GPU.
class Device {
 public:
  Device() = default;  // the CPU
  static Device Cpu() { return {}; }
  // REQUIRES: index >= 0.
  static Device Cuda(int index);
  // "cpu" or "cuda:N"; nothing for any other text.
  static std::optional<Device> Parse(std::string_view text);

  bool is_cpu() const { return cuda_index_ < 0; }
  bool is_cuda() const { return cuda_index_ >= 0; }
  // The N of "cuda:N". REQUIRES: is_cuda().
  int cuda_index() const { return cuda_index_; }
  std::string ToString() const;

  friend bool operator==(const Device&, const Device&) = default;

 private:
  int cuda_index_ = -1;
};

struct DeviceChoice {
  Device device;
  std::string reason;  // for the start-up summary: "no GPU: ..."
};

// `requested`: "auto", "cpu" or "cuda:N". Opens the plugin unless the CPU was asked for; the plugin
// is looked for beside the program, then where the loader looks. Call it first thing in main: once
// torch has asked for CUDA without the plugin, it never asks again.
// "auto" falls back to the CPU; "cuda:N" fails with FAILED_PRECONDITION where it cannot be used.
StatusOr<DeviceChoice> PrepareDevice(const std::string& requested);

// Returns an error if this machine cannot run the CPU kernels that `requested` names (--cpu-isa).
Status CheckCpuIsa(const std::string& requested);

// Returns the free memory of a GPU, or what this process may still take on the CPU.
// REQUIRES: PrepareDevice chose the device.
std::int64_t FreeDeviceBytes(const Device& device);

// Of LibTorch and of the CUDA that it uses ("" when none is there).
std::string TorchVersion();
std::string CudaVersion();

// What LibTorch would warn of on standard error goes to `take` instead, a line at a time, from any
// thread that computes; what its logging library says below an error is dropped. Once, before any
// model is loaded.
void TakeTorchWarnings(std::function<void(const std::string&)> take);

}  // namespace paligemma

#endif  // CORE_MODEL_DEVICE_H_
