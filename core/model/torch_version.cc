// SPDX-License-Identifier: Apache-2.0
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/version.h>

#include "core/model/device.h"

namespace paligemma {

std::string TorchVersion() { return TORCH_VERSION; }

std::string CudaVersion() {
  const auto& hooks = at::detail::getCUDAHooks();
  if (!hooks.hasCUDA()) return "";
  const long version = hooks.versionCUDART();  // 12040 is 12.4
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace paligemma
