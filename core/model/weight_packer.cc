// SPDX-License-Identifier: Apache-2.0
#include "core/model/weight_packer.h"

#include "core/model/ops/packed.h"

namespace paligemma {

void DescribeMatrices(const std::vector<NamedMatrix>& matrices) {
  for (const auto& [module, encoding] : matrices) {
    torch::jit::Module target = module;
    const at::Tensor data = module.attr("data").toTensor();
    target.setattr("aux", ops::MakeAux(ops::DescribeCanonical(data, encoding)));
  }
}

void PackWeights(const FileMapping& file, const cpu::Context& context,
                 const std::vector<NamedMatrix>& matrices) {
  if (context.isa == cpu::Isa::kReference) {
    return;
  }
  for (const auto& [module, encoding] : matrices) {
    torch::jit::Module target = module;
    const at::Tensor data = module.attr("data").toTensor();
    const at::Tensor scale = module.attr("scale").toTensor();
    if (!ops::CanPack(data, scale, encoding)) {
      continue;
    }
    const ops::PackedTensors packed = ops::Pack(context, data, scale, encoding);
    target.setattr("data", packed.data);
    target.setattr("scale", packed.scale);
    target.setattr("aux", packed.aux);
    if (file.Contains(data.const_data_ptr())) {
      file.Forget(data.const_data_ptr(), data.nbytes());
    }
  }
}

}  // namespace paligemma
