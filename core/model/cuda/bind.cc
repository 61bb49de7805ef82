// SPDX-License-Identifier: Apache-2.0
// The CUDA plugin: what a server with a GPU opens at run time. It brings libtorch_cuda in, under
// which the reference kernels run as they are, and overrides single operators with CUDA kernels.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <cstdint>

#include "core/gpu/kernels.h"
#include "core/model/ops/registration.h"

namespace paligemma::cuda {
namespace {

at::Tensor Rope(const ops::RopeArgs& args) {
  const c10::cuda::CUDAGuard guard(args.positions.device());
  const at::Tensor ids = args.positions.contiguous();
  at::Tensor out = at::empty({ids.size(0), args.head_dim}, ids.options().dtype(at::kFloat));
  if (ids.numel() > 0) {
    const gpu::RopeArguments own{ids.const_data_ptr<int>(), out.mutable_data_ptr<float>(),
                                 static_cast<int>(ids.size(0)), static_cast<int>(args.head_dim),
                                 args.theta};
    C10_CUDA_CHECK(gpu::Rope(own, c10::cuda::getCurrentCUDAStream()));
  }
  return out;
}

}  // namespace
}  // namespace paligemma::cuda

TORCH_LIBRARY_IMPL(paligemma, CUDA, library) {
  library.impl("rope", &paligemma::ops::Registered<&paligemma::cuda::Rope>::Call);
}

// Called through dlsym by core/model/device.cc.
extern "C" {

// 0: no GPU, or no driver.
__attribute__((visibility("default"))) int paligemma_cuda_device_count() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

// < 0: it could not be asked.
__attribute__((visibility("default"))) std::int64_t paligemma_cuda_free_bytes(int device) {
  std::size_t free_bytes = 0, total_bytes = 0;
  if (cudaSetDevice(device) != cudaSuccess ||
      cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess) {
    return -1;
  }
  return static_cast<std::int64_t>(free_bytes);
}
}
