// SPDX-License-Identifier: Apache-2.0
// Choosing the device. The server links libtorch_cpu alone; what a GPU needs lies in the plugin
// libpaligemma_cuda.so. No LibTorch type here.
#ifndef CORE_MODEL_DEVICE_H_
#define CORE_MODEL_DEVICE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "core/base/status.h"

namespace paligemma {

struct DeviceChoice {
  std::string device;  // "cpu" or "cuda:N"
  std::string reason;  // for the start-up summary: "no GPU: ..."
};

// `requested`: "auto", "cpu" or "cuda:N". Opens the plugin unless the CPU was asked for; it is
// looked for beside the program, then where the loader looks. Call it first thing in main: once
// torch has asked for CUDA without the plugin, it never asks again.
// "auto" falls back to the CPU; "cuda:N" fails with FAILED_PRECONDITION where it cannot be used.
StatusOr<DeviceChoice> PrepareDevice(const std::string& requested);

// Free memory of "cuda:N", or what this process may still take for "cpu".
// REQUIRES: PrepareDevice chose it.
std::int64_t FreeDeviceBytes(const std::string& device);

// Of LibTorch and of the CUDA that it uses ("" when none is there).
std::string TorchVersion();
std::string CudaVersion();

// What LibTorch would warn of on standard error goes to `take` instead, a line at a time, from any
// thread that computes; what its logging library says below an error is dropped. Once, before any
// model is loaded.
void TakeTorchWarnings(std::function<void(const std::string&)> take);

}  // namespace paligemma

#endif  // CORE_MODEL_DEVICE_H_
