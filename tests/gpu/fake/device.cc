// SPDX-License-Identifier: Apache-2.0
// The runtime's entry points about the device, compiled kernels and errors.
#include <cstdio>
#include <cstring>
#include <utility>

#include "fake/runtime.h"

namespace {

using fake_cuda::Get;

constexpr std::size_t kDeviceBytes = std::size_t{4} << 30;

void CountCompiled(const void* function) {
  PG_FAKE_LOCK;
  const auto name = Get().kernels.find(function);
  ++Get().counts.compiled[name == Get().kernels.end() ? "unknown" : name->second];
}

}  // namespace

extern "C" {

// For the emulator: `run(argument)` is a kernel's launch, which a graph may repeat.
int pg_fake_cuda_enqueue(cudaStream_t stream, void (*run)(void*), void* argument) {
  PG_FAKE_LOCK;
  ++Get().counts.launches;
  return fake_cuda::Add(stream, [run, argument] { run(argument); });
}

// For on_cpu.cc: an operator ran on the CPU.
void pg_fake_cuda_ran_on_cpu(const char* name) {
  PG_FAKE_LOCK;
  ++Get().counts.on_cpu[name];
}

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*,
                            dim3*, dim3*, int*) {
  PG_FAKE_LOCK;
  Get().kernels[host] = name;
}
unsigned __cudaPushCallConfiguration(dim3, dim3, std::size_t, struct CUstream_st*) { return 0; }
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
  *grid = *block = dim3(1);
  *shared = 0;
  *static_cast<void**>(stream) = nullptr;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3, dim3, void**, std::size_t, cudaStream_t) {
  CountCompiled(kernel);
  return cudaSuccess;
}
cudaError_t cudaLaunchKernel(const void* function, dim3, dim3, void**, std::size_t, cudaStream_t) {
  CountCompiled(function);
  return cudaSuccess;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t*, const void* function, void**) {
  CountCompiled(function);
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024;
  attributes->binaryVersion = attributes->ptxVersion = 90;
  return cudaSuccess;
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void*, int,
                                                                   std::size_t, unsigned) {
  *blocks = 2;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof *properties);
  std::strcpy(properties->name, "fake device");
  properties->major = 9;
  properties->multiProcessorCount = 132;
  properties->warpSize = 32;
  properties->totalGlobalMem = kDeviceBytes;
  properties->sharedMemPerBlock = 49152;
  properties->sharedMemPerBlockOptin = 232448;
  properties->sharedMemPerMultiprocessor = 233472;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = 2048;
  properties->regsPerBlock = properties->regsPerMultiprocessor = 65536;
  properties->l2CacheSize = 60 << 20;
  properties->concurrentKernels = properties->unifiedAddressing = 1;
  for (int i = 0; i < 3; ++i) {
    properties->maxGridSize[i] = i == 0 ? 2147483647 : 65535;
    properties->maxThreadsDim[i] = i < 2 ? 1024 : 64;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
  *value = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  PG_FAKE_LOCK;
  *total_bytes = kDeviceBytes;
  *free_bytes = kDeviceBytes - Get().used_bytes;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  static const auto not_supported = +[]() -> int { return cudaErrorNotSupported; };
  *function = reinterpret_cast<void*>(not_supported);
  if (result != nullptr) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorStreamCaptureUnsupported:
      return "operation not permitted when stream is capturing";
    default:
      return "error of the fake device";
  }
}
const char* cudaGetErrorName(cudaError_t) { return "cudaErrorFake"; }
cudaError_t cudaGetLastError() {
  PG_FAKE_LOCK;
  return std::exchange(Get().last_error, Get().sticky_error);
}
cudaError_t cudaPeekAtLastError() {
  PG_FAKE_LOCK;
  return Get().last_error;
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  PG_FAKE_LOCK;
  auto& state = Get();
  ++state.counts.allocations;
  if (state.sticky_error != cudaSuccess) return fake_cuda::Fail(state.sticky_error, "cudaMalloc");
  if (fake_cuda::IsCapturing() && state.capture_mode == cudaStreamCaptureModeGlobal) {
    return fake_cuda::Fail(cudaErrorStreamCaptureUnsupported, "cudaMalloc");
  }
  if (state.used_bytes + bytes > kDeviceBytes || posix_memalign(memory, 512, bytes) != 0) {
    return state.last_error = cudaErrorMemoryAllocation;
  }
  std::memset(*memory, 0xff, bytes);
  state.device_memory[*memory] = bytes;
  state.used_bytes += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  PG_FAKE_LOCK;
  auto& state = Get();
  if (memory == nullptr) return cudaSuccess;
  for (fake_cuda::Stream* stream : state.streams) {
    if (stream->capture == nullptr) fake_cuda::Run(stream);
  }
  state.used_bytes -= state.device_memory[memory];
  state.device_memory.erase(memory);
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned) {
  PG_FAKE_LOCK;
  ++Get().counts.allocations;
  if (posix_memalign(memory, 4096, bytes) != 0) return Get().last_error = cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  Get().pinned_memory[*memory] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* memory) {
  PG_FAKE_LOCK;
  Get().pinned_memory.erase(memory);
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  PG_FAKE_LOCK;
  const auto is_in = [pointer](const std::map<const void*, std::size_t>& all) {
    auto next = all.upper_bound(pointer);
    if (next == all.begin()) return false;
    --next;
    return static_cast<const char*>(pointer) < static_cast<const char*>(next->first) + next->second;
  };
  *attributes = {};
  attributes->type = is_in(Get().device_memory)   ? cudaMemoryTypeDevice
                     : is_in(Get().pinned_memory) ? cudaMemoryTypeHost
                                                  : cudaMemoryTypeUnregistered;
  attributes->devicePointer = const_cast<void*>(pointer);
  return cudaSuccess;
}
}
