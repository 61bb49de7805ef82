// SPDX-License-Identifier: Apache-2.0
#include "core/model/weight_packer.h"

#include "core/model/ops/packed.h"

namespace paligemma {
namespace {

// The exporter's Matrix: three buffers with these names.
bool IsMatrix(const torch::jit::Module& module) {
  return module.hasattr("data") && module.hasattr("scale") && module.hasattr("aux") &&
         module.attr("data").isTensor();
}

}  // namespace

void PackWeights(const FileMapping& file, const cpu::Context& context, torch::jit::Module root) {
  if (context.isa == cpu::Isa::kReference) {
    return;
  }
  for (torch::jit::Module module : root.modules()) {
    if (!IsMatrix(module)) {
      continue;
    }
    const at::Tensor data = module.attr("data").toTensor();
    const at::Tensor scale = module.attr("scale").toTensor();
    if (!ops::CanPack(data, scale)) {
      continue;
    }
    const ops::PackedTensors packed = ops::Pack(context, data, scale);
    module.setattr("data", packed.data);
    module.setattr("scale", packed.scale);
    module.setattr("aux", packed.aux);
    if (file.Contains(data.const_data_ptr())) {
      file.Forget(data.const_data_ptr(), data.nbytes());
    }
  }
}

}  // namespace paligemma
