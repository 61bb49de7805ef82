// SPDX-License-Identifier: Apache-2.0
// Puts a module's weight matrices into the order of the CPU kernels. Internal to core/model.
#ifndef CORE_MODEL_WEIGHT_PACKER_H_
#define CORE_MODEL_WEIGHT_PACKER_H_

#include <torch/csrc/jit/api/module.h>

#include "core/cpu/context.h"
#include "core/model/mapped_module.h"

namespace paligemma {

// Packs the matrices one after the other, letting go of each one's pages in `file` at once, so that
// no two copies of the model exist at any time. Leaves matrices that no kernel takes, and all of
// them for Isa::kReference.
void PackWeights(const FileMapping& file, const cpu::Context& context, torch::jit::Module module);

}  // namespace paligemma

#endif  // CORE_MODEL_WEIGHT_PACKER_H_
